// Xnetclient is a server that calls others by golang.org/x/net/http2's Transport, in every place where that may stand:
// /own by itself, /configured below net/http's Transport, /plain not at all, /pool with a connection pool of its own
// that makes another request first. `url` is called `n` times with `method`; the answer is 502 unless all say 200.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/net/http2"
)

func main() {
	mux := http.NewServeMux()
	configured := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	check2(http2.ConfigureTransports(configured))
	plain := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	own := newTransport()
	for path, transport := range map[string]http.RoundTripper{"/configured": configured, "/plain": plain, "/own": own} {
		transport := transport
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < number(r); i++ {
				if status := call(r.Context(), transport, r.URL.Query().Get("method"), r.URL.Query().Get("url")); status != 200 {
					w.WriteHeader(http.StatusBadGateway)
					return
				}
			}
		})
	}
	mux.HandleFunc("/pool", func(w http.ResponseWriter, r *http.Request) {
		transport := newTransport()
		transport.ConnPool = &pool{transport: newTransport(), first: r.URL.Query().Get("first"), other: own}
		if status := call(r.Context(), transport, "GET", r.URL.Query().Get("url")); status != 200 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go http.Serve(listener, mux)
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGINT, syscall.SIGTERM)
	fmt.Printf("listening http=%s\n", listener.Addr())
	<-leave
}

func newTransport() *http2.Transport {
	return &http2.Transport{
		AllowHTTP:       true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialTLSContext: func(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
			if config == nil || plaintext(ctx) {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		},
	}
}

type plaintextKey struct{}

func plaintext(ctx context.Context) bool { return ctx.Value(plaintextKey{}) != nil }

func call(ctx context.Context, transport http.RoundTripper, method, url string) int {
	var body io.Reader
	if method == "POST" {
		body = io.MultiReader(strings.NewReader("body"))
	}
	if strings.HasPrefix(url, "http:") {
		ctx = context.WithValue(ctx, plaintextKey{}, true)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	check(err)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// pool makes a connection for every request, and another request before.
type pool struct {
	transport *http2.Transport
	first     string
	other     http.RoundTripper
}

func (p *pool) GetClientConn(request *http.Request, address string) (*http2.ClientConn, error) {
	call(request.Context(), p.other, "GET", p.first)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return p.transport.NewClientConn(conn)
}

func (p *pool) MarkDead(*http2.ClientConn) {}

func number(r *http.Request) int {
	if n, err := strconv.Atoi(r.URL.Query().Get("n")); err == nil {
		return n
	}
	return 1
}

func check2(_ *http2.Transport, err error) { check(err) }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
