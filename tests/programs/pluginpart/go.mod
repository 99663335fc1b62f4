module example.com/pluginpart

go 1.18
