module article

go 1.18
