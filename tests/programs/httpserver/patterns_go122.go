//go:build go1.22

// go.mod says 1.18, which would keep the old ServeMux.
//go:debug httpmuxgo121=0

package main

import (
	"io"
	"net/http"
)

// patterns registers the same resources in both muxes; from Go 1.22 with methods and wildcards.
func patterns(outer, inner *http.ServeMux) {
	user := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.PathValue("id")+"\n") }
	for _, mux := range []*http.ServeMux{outer, inner} {
		mux.HandleFunc("GET /users/{id}", user)
		mux.HandleFunc("localhost/local/{id}", user)
	}
}
