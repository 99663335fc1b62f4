module stackscgo

go 1.18
