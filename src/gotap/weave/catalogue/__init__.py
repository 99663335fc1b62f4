"""The catalogue's operations as Go that is compiled into the packages which carry them out."""
