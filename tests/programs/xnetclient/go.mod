module example.com/xnetclient

go 1.23.0

require golang.org/x/net v0.40.0

require golang.org/x/text v0.25.0 // indirect
