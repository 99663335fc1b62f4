module goformats

go 1.18
