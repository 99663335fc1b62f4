module returns

go 1.18
