module example.com/stdnames

go 1.18
