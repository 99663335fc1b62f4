// Pluginserver serves /hello, and /load?path=FILE, which loads that plugin and answers with what its Answer returns.
// It prints `listening http=HOST:PORT` when it accepts.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"plugin"
)

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	http.HandleFunc("/load", load)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening http=%s\n", listener.Addr())
	panic(http.Serve(listener, nil))
}

func load(w http.ResponseWriter, r *http.Request) {
	loaded, err := plugin.Open(r.URL.Query().Get("path"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, err := loaded.Lookup("Answer")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, answer.(func() int)())
}
