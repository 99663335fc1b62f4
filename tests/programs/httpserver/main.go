// Httpserver is the net/http program that gotap's tests watch: a server with one route for each way a request can
// go, and (with -client) a client with one mode for each way a round trip can go.
//
// It needs nothing but the standard library and builds with Go 1.18 and later.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address of the plaintext listener; port 0 takes any")
	untilEOF := flag.Bool("until-eof", false, "leave when standard input ends")
	quiet := flag.Bool("quiet", true, "do not log panics of handlers")
	client := flag.String("client", "", "be a client of this URL instead of a server")
	mode := flag.String("mode", "get", "client: how to call; see client.go")
	n := flag.Int("n", 1, "client: calls")
	interactive := flag.Bool("interactive", false, "client: read `MODE URL N` lines from standard input, answer each with a JSON line")
	flag.Parse()

	switch {
	case *interactive:
		converse(os.Stdin, os.Stdout)
	case *client != "":
		report(os.Stdout, runClient(*mode, *client, *n))
	default:
		serve(*address, *untilEOF, *quiet)
	}
}

// serve prints `listening http=HOST:PORT https=HOST:PORT [h2c=HOST:PORT]` when all listeners accept, and at the end
// `counts {...}`.
func serve(address string, untilEOF, quiet bool) {
	errors := log.New(os.Stderr, "", log.LstdFlags)
	if quiet {
		errors = log.New(io.Discard, "", 0)
	}
	handler := counted(routes())
	plain := &http.Server{Handler: handler, ErrorLog: errors}
	secure := &http.Server{Handler: handler, ErrorLog: errors, TLSConfig: &tls.Config{Certificates: []tls.Certificate{selfSigned()}}}

	host, _, err := net.SplitHostPort(address)
	check(err)
	plainListener := listen(address)
	secureListener := listen(net.JoinHostPort(host, "0"))
	line := fmt.Sprintf("listening http=%s https=%s", plainListener.Addr(), secureListener.Addr())
	servers := []*http.Server{plain, secure}
	go plain.Serve(plainListener)
	go secure.ServeTLS(secureListener, "", "")

	cleartext := &http.Server{Handler: handler, ErrorLog: errors}
	if allowCleartextHTTP2(cleartext) {
		listener := listen(net.JoinHostPort(host, "0"))
		line += fmt.Sprintf(" h2c=%s", listener.Addr())
		servers = append(servers, cleartext)
		go cleartext.Serve(listener)
	}
	startPool()
	leave := make(chan os.Signal, 1)
	signal.Notify(leave, syscall.SIGINT, syscall.SIGTERM) // before the line that says that it is ready
	fmt.Println(line)

	if untilEOF {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			leave <- syscall.SIGTERM
		}()
	}
	<-leave
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, server := range servers {
		server.Shutdown(ctx)
	}
	text, _ := json.Marshal(counts.snapshot())
	fmt.Printf("counts %s\n", text)
}

// converse answers each line `MODE URL N` with what report prints.
func converse(in io.Reader, out io.Writer) {
	fmt.Fprintln(out, "ready")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var mode, url string
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "%s %s %d", &mode, &url, &n); err != nil {
			log.Fatalf("want MODE URL N, got %q: %v", lines.Text(), err)
		}
		report(out, runClient(mode, url, n))
	}
}

func listen(address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	check(err)
	return listener
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
