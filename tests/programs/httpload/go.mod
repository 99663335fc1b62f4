module httpload

go 1.18
