// H2c is a server and client of golang.org/x/net/http2 as programs link it (not the copy in net/http): HTTP/2 without
// TLS by prior knowledge or upgrade, and with TLS.
//
// It prints `listening h2c=HOST:PORT https=HOST:PORT` when both listeners accept, and at the end `counts N` with the
// number of requests that reached the handler. With -client URL it calls it -n times by http2.Transport.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

var requests int64

func main() {
	client := flag.String("client", "", "call this URL instead of serving")
	n := flag.Int("n", 1, "client: calls")
	flag.Parse()
	if *client != "" {
		call(*client, *n)
		return
	}
	serve()
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	mux.HandleFunc("/nothing", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic("on request") })
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		if code, err := strconv.Atoi(r.URL.Query().Get("code")); err == nil {
			w.WriteHeader(code)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		atomic.AddInt64(&requests, 1)
		mux.ServeHTTP(w, r)
	})
}

func serve() {
	quiet := log.New(io.Discard, "", 0)
	plain := &http.Server{Handler: h2c.NewHandler(routes(), &http2.Server{}), ErrorLog: quiet}
	secure := &http.Server{Handler: routes(), ErrorLog: quiet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{selfSigned()}}}
	check(http2.ConfigureServer(secure, &http2.Server{}))
	plainListener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	secureListener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go plain.Serve(plainListener)
	go secure.ServeTLS(secureListener, "", "")
	fmt.Printf("listening h2c=%s https=%s\n", plainListener.Addr(), secureListener.Addr())

	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGINT, syscall.SIGTERM)
	<-leave
	fmt.Printf("counts %d\n", atomic.LoadInt64(&requests))
}

func call(url string, n int) {
	client := &http.Client{Transport: &http2.Transport{
		AllowHTTP:       true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialTLSContext: func(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
			if len(url) > 5 && url[:5] == "http:" {
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}
			return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
		},
	}}
	status := map[int]int{}
	for i := 0; i < n; i++ {
		response, err := client.Get(url)
		if err != nil {
			status[0]++
			continue
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		status[response.StatusCode]++
	}
	fmt.Println(status)
}

func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
