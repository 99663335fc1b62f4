module gotap.dev/demo

go 1.22
