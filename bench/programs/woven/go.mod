module woven

go 1.22
