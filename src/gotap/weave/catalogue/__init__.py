"""The catalogue's operations as Go that is compiled into the packages which carry them out."""

#: The file that a package gets beside its own.
FILE = "zz_gotap_operations.go"

#: Comma-separated import paths of the libraries whose operations are woven; empty: none. All without it.
VARIABLE = "GOTAP_LIBRARIES"
