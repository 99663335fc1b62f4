module anymemory

go 1.20
