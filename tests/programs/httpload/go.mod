module example.com/httpload

go 1.18
