module tracee

go 1.18
