module example.com/sqlcalls

go 1.18

require github.com/lib/pq v1.10.9
