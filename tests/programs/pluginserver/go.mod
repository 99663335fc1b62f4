module example.com/pluginserver

go 1.18
