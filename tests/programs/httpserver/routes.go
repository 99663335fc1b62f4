package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

type copied struct{}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(number(r, "code", 200)) })
	mux.HandleFunc("/nothing", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic("on request") })
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/panic-after-write", panicAfterWrite)
	mux.HandleFunc("/recovered", recovered)
	mux.HandleFunc("/hijack", hijack)
	mux.HandleFunc("/stream", stream)
	mux.HandleFunc("/slow", slow)
	mux.HandleFunc("/deep", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, deep(number(r, "n", 1000))) })
	mux.HandleFunc("/gc", func(w http.ResponseWriter, r *http.Request) { runtime.GC() })
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/redirect", redirect)
	mux.HandleFunc("/spawn", spawn)
	outgoing(mux)

	// A mux within a mux, and a mux behind middleware that passes on a copy of the request: the route is the innermost
	// mux's pattern, and with the copy it is not in the request that the server made.
	inner := http.NewServeMux()
	patterns(mux, inner)
	mux.Handle("/api/", http.StripPrefix("/api", inner))
	mux.Handle("/copied/", copying(http.StripPrefix("/copied", inner)))
	return mux
}

func copying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), copied{}, true)))
	})
}

// number is the query's integer of that name, or fallback.
func number(r *http.Request, name string, fallback int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return fallback
}

func panicAfterWrite(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(number(r, "code", 200))
	io.WriteString(w, "partial")
	w.(http.Flusher).Flush()
	panic("after write")
}

// recovered panics and recovers inside of the handler: an ordinary answer.
func recovered(w http.ResponseWriter, r *http.Request) {
	defer func() {
		recover()
		w.WriteHeader(500)
	}()
	panic("recovered")
}

func hijack(w http.ResponseWriter, r *http.Request) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		w.WriteHeader(http.StatusHTTPVersionNotSupported)
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhijacked\n")
	buffered.Flush()
}

// stream flushes n chunks, until the client goes away.
func stream(w http.ResponseWriter, r *http.Request) {
	for i := 0; i < number(r, "n", 3); i++ {
		if _, err := fmt.Fprintf(w, "chunk %d\n", i); err != nil {
			return
		}
		w.(http.Flusher).Flush()
	}
}

// slow answers after ms milliseconds, or at once when the client goes away.
func slow(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(time.Duration(number(r, "ms", 10)) * time.Millisecond):
		io.WriteString(w, "slow\n")
	case <-r.Context().Done():
	}
}

// deep recurses with a frame of 256 bytes or more, so that the stack is moved while the handler runs.
//
//go:noinline
func deep(n int) int {
	var frame [32]int
	frame[n%len(frame)] = n
	if n > 0 {
		frame[0] += deep(n - 1)
	}
	return frame[0] + frame[n%len(frame)]%2
}

// echo writes the request's own facts as text, `name: value` a line, headers sorted.
func echo(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s %s\n", r.Method, r.URL, r.Proto, r.RemoteAddr)
	var lines []string
	for name, values := range r.Header {
		lines = append(lines, fmt.Sprintf("%s: %s\n", name, strings.Join(values, ", ")))
	}
	sort.Strings(lines)
	io.WriteString(w, strings.Join(lines, ""))
}

// redirect sends the client to `to` after `n` redirects to itself.
func redirect(w http.ResponseWriter, r *http.Request) {
	to := r.URL.Query().Get("to")
	if to == "" {
		to = "/hello"
	}
	if n := number(r, "n", 1); n > 1 {
		query := r.URL.Query()
		query.Set("n", strconv.Itoa(n-1))
		to = r.URL.Path + "?" + query.Encode()
	}
	http.Redirect(w, r, to, http.StatusFound)
}

// spawn executes this program again, as a client of `url`, and answers with what it prints.
func spawn(w http.ResponseWriter, r *http.Request) {
	child := exec.CommandContext(r.Context(), "/proc/self/exe", "-client", r.URL.Query().Get("url"), "-n", strconv.Itoa(number(r, "n", 1)))
	var out bytes.Buffer
	child.Stdout, child.Stderr = &out, os.Stderr
	if err := child.Run(); err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	w.Write(out.Bytes())
}
