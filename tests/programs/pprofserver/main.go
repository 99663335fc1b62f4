// Pprofserver serves /hello and the pages of net/http/pprof, the profile threadcreate among them. It prints
// `listening http=HOST:PORT` when it accepts. It has one file and no build tags, so that gccgo takes it, too.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof"
)

func main() {
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("listening http=%s\n", listener.Addr())
	panic(http.Serve(listener, nil))
}
