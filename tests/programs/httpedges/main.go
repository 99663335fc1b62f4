// Httpedges is a server for what ../httpserver leaves out: the rare ways in which a handler ends, contexts of one's own,
// requests that are passed on as copies and forgotten, and clients within clients.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	flag.Parse()
	mux := http.NewServeMux()
	endings(mux)
	copies(mux)
	contexts(mux)
	clients(mux)
	quiet := log.New(io.Discard, "", 0)

	// Servers as tests of Go programs start them: httptest goes through http.Server.Serve by itself.
	plain := httptest.NewUnstartedServer(mux)
	plain.Config.ErrorLog = quiet
	plain.Start()
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = quiet
	secure.EnableHTTP2 = true
	secure.StartTLS()

	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGINT, syscall.SIGTERM)
	fmt.Printf("listening http=%s https=%s\n", plain.Listener.Addr(), secure.Listener.Addr())
	<-leave
}

func number(r *http.Request, name string, fallback int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return fallback
}

func endings(mux *http.ServeMux) {
	mux.HandleFunc("/goexit", func(w http.ResponseWriter, r *http.Request) { runtime.Goexit() })
	mux.HandleFunc("/panic-nil", func(w http.ResponseWriter, r *http.Request) { panic(nil) })
	mux.HandleFunc("/panic-twice", func(w http.ResponseWriter, r *http.Request) {
		defer func() { panic(http.ErrAbortHandler) }()
		panic("first")
	})
	mux.HandleFunc("/panic-again", func(w http.ResponseWriter, r *http.Request) {
		func() {
			defer func() { recover() }()
			panic("recovered")
		}()
		panic("for good")
	})
	mux.HandleFunc("/panic-streaming", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < number(r, "n", 100); i++ {
			fmt.Fprintf(w, "chunk %d of some length, so that buffers fill\n", i)
			w.(http.Flusher).Flush()
		}
		panic("while streaming")
	})
	mux.HandleFunc("/panic-unsent", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "never sent")
		panic("before anything was sent")
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, number(r, "bytes", 1<<20)))
	})
	mux.HandleFunc("/continue", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("/switch", func(w http.ResponseWriter, r *http.Request) {
		hijacker, ok := w.(http.Hijacker)
		if !ok {
			return
		}
		conn, _, err := hijacker.Hijack()
		if err != nil {
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		go func() { // the connection outlives the handler
			defer conn.Close()
			io.CopyN(conn, conn, 4)
		}()
	})
}

func copies(mux *http.ServeMux) {
	inner := http.NewServeMux()
	inner.HandleFunc("/timed/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	inner.HandleFunc("/timed/expired", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	inner.HandleFunc("/timed/panic", func(w http.ResponseWriter, r *http.Request) { panic("in another goroutine") })
	inner.HandleFunc("/timed/call", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, fetch(r.Context(), http.DefaultClient, r.URL.Query().Get("url")))
	})
	mux.Handle("/timed/", http.TimeoutHandler(inner, 2*time.Second, "late"))
	short := http.NewServeMux()
	short.Handle("/timed/", inner)
	mux.Handle("/short/", http.StripPrefix("/short", http.TimeoutHandler(short, 50*time.Millisecond, "late")))

	// The inner mux sees a copy that nobody holds on to; by the end of the request its memory is another's.
	forgetful := http.NewServeMux()
	forgetful.HandleFunc("/garbage", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < 3; i++ {
			runtime.GC()
			for j := 0; j < 2000; j++ {
				sink = &http.Request{Header: http.Header{}}
			}
		}
		io.WriteString(w, "done\n")
	})
	mux.Handle("/forgotten/", http.StripPrefix("/forgotten", forgetful))
}

var sink *http.Request

var insecure = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
