//go:build go1.22

// go.mod says 1.18, which would keep the old ServeMux.
//go:debug httpmuxgo121=0

package main
