package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"
)

// fetch gives the status of a GET, or the error, as text.
func fetch(ctx context.Context, client *http.Client, url string) string {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err.Error()
	}
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.Status
}

func clients(mux *http.ServeMux) {
	// Another request inside of a request: where the proxy is chosen (same goroutine) and where the dialer runs.
	mux.HandleFunc("/call/proxy", func(w http.ResponseWriter, r *http.Request) {
		first := r.URL.Query().Get("first")
		transport := insecure.Clone()
		transport.Proxy = func(*http.Request) (*url.URL, error) {
			fetch(r.Context(), http.DefaultClient, first)
			return nil, nil
		}
		defer transport.CloseIdleConnections()
		io.WriteString(w, fetch(r.Context(), &http.Client{Transport: transport}, r.URL.Query().Get("url")))
	})
	mux.HandleFunc("/call/dialer", func(w http.ResponseWriter, r *http.Request) {
		first := r.URL.Query().Get("first")
		transport := insecure.Clone()
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			fetch(r.Context(), http.DefaultClient, first)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		defer transport.CloseIdleConnections()
		io.WriteString(w, fetch(r.Context(), &http.Client{Transport: transport}, r.URL.Query().Get("url")))
	})
	// The transport itself panics, out of a hook, and the handler goes on and calls again from the same frame.
	mux.HandleFunc("/call/panicking", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < 2; i++ {
			io.WriteString(w, survive(r, i == 0))
		}
	})
	mux.HandleFunc("/call/headers", func(w http.ResponseWriter, r *http.Request) {
		transport := insecure.Clone()
		transport.ResponseHeaderTimeout = 30 * time.Millisecond
		defer transport.CloseIdleConnections()
		io.WriteString(w, fetch(r.Context(), &http.Client{Transport: transport}, r.URL.Query().Get("url")))
	})
	mux.HandleFunc("/call/invalid", func(w http.ResponseWriter, r *http.Request) {
		for _, request := range []*http.Request{
			{Method: "GET", URL: &url.URL{Scheme: "gopher", Host: "localhost"}, Header: http.Header{}},
			{Method: "GET", URL: &url.URL{Scheme: "http"}, Header: http.Header{}},
			{Method: "GET", Header: http.Header{}},
			{Method: "B AD", URL: &url.URL{Scheme: "http", Host: "localhost"}, Header: http.Header{}},
			{Method: "GET", URL: &url.URL{Scheme: "http", Host: "localhost"}},
			{Method: "GET", URL: &url.URL{Scheme: "http", Host: "localhost"}, Header: http.Header{"a b": nil}},
		} {
			_, err := http.DefaultTransport.RoundTrip(request.WithContext(r.Context()))
			fmt.Fprintln(w, err)
		}
	})
	mux.HandleFunc("/call/connection", func(w http.ResponseWriter, r *http.Request) {
		if target, err := url.Parse(r.URL.Query().Get("url")); err == nil {
			io.WriteString(w, overConnection(r.Context(), target))
		}
	})
	// HTTP/2 with a body, whose request net/http hands on as a copy; the same URL value in parallel.
	mux.HandleFunc("/call/post", func(w http.ResponseWriter, r *http.Request) {
		target, err := url.Parse(r.URL.Query().Get("url"))
		if err != nil {
			return
		}
		var all sync.WaitGroup
		for i := 0; i < number(r, "n", 1); i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				request := &http.Request{
					Method: "POST", URL: target, Host: target.Host, Header: http.Header{},
					Body: io.NopCloser(strings.NewReader("body")), ContentLength: 4,
				}
				response, err := insecure.RoundTrip(request.WithContext(r.Context()))
				if err == nil {
					response.Body.Close()
				}
			}()
		}
		all.Wait()
	})
}

// survive calls, with a hook that panics if asked to, and recovers.
func survive(r *http.Request, panics bool) (result string) {
	defer func() {
		if e := recover(); e != nil {
			result = "panicked\n"
		}
	}()
	ctx := r.Context()
	if panics {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { panic("in a hook") }})
	}
	return fetch(ctx, http.DefaultClient, r.URL.Query().Get("url")) + "\n"
}
