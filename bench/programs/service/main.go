// Service is the net/http server that the benchmarks load: as little work per request as there can be, so that what
// gotap adds shows.
//
//	GET /hello  answers "hello"
//	GET /call   calls -backend over a kept connection, reads the body and answers "called"
//
// It prints `listening HOST:PORT` when it accepts.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

func main() {
	backend := flag.String("backend", "", "URL that GET /call fetches")
	flag.Parse()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	mux.HandleFunc("GET /call", func(w http.ResponseWriter, r *http.Request) {
		request, err := http.NewRequestWithContext(r.Context(), "GET", *backend, nil)
		if err != nil {
			log.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		io.Copy(io.Discard, response.Body)
		io.WriteString(w, "called\n")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}
