module example.com/typezoo.v1

go 1.18
