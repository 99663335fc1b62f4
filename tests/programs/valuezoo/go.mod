module example.com/valuezoo

go 1.18
