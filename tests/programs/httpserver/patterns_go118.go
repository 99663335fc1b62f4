//go:build !go1.22

package main

import (
	"io"
	"net/http"
	"path"
)

// patterns registers the same resources in both muxes; before Go 1.22 by prefix.
func patterns(outer, inner *http.ServeMux) {
	user := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, path.Base(r.URL.Path)+"\n") }
	for _, mux := range []*http.ServeMux{outer, inner} {
		mux.HandleFunc("/users/", user)
		mux.HandleFunc("localhost/local/", user)
	}
}
