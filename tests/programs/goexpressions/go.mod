module goexpressions

go 1.18
