// profiled serves GET /hello/{id}. With a file name it puts load on itself for two seconds, writes a CPU profile there
// and ends: what a profile-guided build is made from.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{id}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go http.Serve(listener, mux)
	if len(os.Args) == 1 {
		fmt.Println(listener.Addr())
		select {}
	}
	file, err := os.Create(os.Args[1])
	check(err)
	check(pprof.StartCPUProfile(file))
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		response, err := http.Get("http://" + listener.Addr().String() + "/hello/7")
		check(err)
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	pprof.StopCPUProfile()
	check(file.Close())
}
