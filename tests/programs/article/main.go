// A web server after the program of a 2020 article on BPF and Go: its handler asks a site whether it is up, in a
// goroutine of its own, and answers with what it heard. Prints its address; the site is another handler of its own.
package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

var site string

type siteStatus struct {
	Code    int
	Message string
	Took    time.Duration
}

func checkSite(url string, timeout time.Duration) (*siteStatus, error) {
	answers := make(chan *siteStatus, 1)
	failures := make(chan error, 1)
	go func() {
		begin := time.Now()
		client := http.Client{Timeout: timeout}
		response, err := client.Get(url)
		if err != nil {
			failures <- err
			return
		}
		response.Body.Close()
		answers <- &siteStatus{response.StatusCode, response.Status, time.Since(begin)}
	}()
	select {
	case answer := <-answers:
		return answer, nil
	case err := <-failures:
		return nil, fmt.Errorf("checking %s: %w", url, err)
	case <-time.After(2 * timeout):
		return nil, errors.New("no answer in time")
	}
}

//go:noinline
func prepareAnswer(name string, year int, status int) string {
	return fmt.Sprintf("Hello, %s %d! Site status: %d\n", name, year, status)
}

func handler(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	year, err := strconv.Atoi(r.URL.Query().Get("year"))
	if err != nil {
		year = 2020
	}
	status := 0
	if answer, err := checkSite(site+r.URL.Query().Get("path"), 5*time.Second); err == nil {
		status = answer.Code
	} else {
		status = http.StatusBadGateway
	}
	fmt.Fprint(w, prepareAnswer(name, year, status))
}

func main() {
	upstream := http.NewServeMux()
	upstream.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	listen := func(handler http.Handler) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go http.Serve(listener, handler)
		return "http://" + listener.Addr().String()
	}
	site = listen(upstream)
	mux := http.NewServeMux()
	mux.HandleFunc("/", handler)
	fmt.Println(listen(mux))
	buffer := make([]byte, 1)
	os.Stdin.Read(buffer) // until the test has gone
}
