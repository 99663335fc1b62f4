module wovenhello

go 1.22
