module weavehelper

go 1.21
