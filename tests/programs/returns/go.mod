module example.com/returns

go 1.18
