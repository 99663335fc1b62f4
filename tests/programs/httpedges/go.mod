module example.com/httpedges

go 1.18
