module results

go 1.18
