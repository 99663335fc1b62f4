module example.com/maplayout

go 1.18
