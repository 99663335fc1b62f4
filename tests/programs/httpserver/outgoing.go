package main

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"time"
)

// caller is the client of the /call routes; it takes any certificate, since the test servers sign their own.
var caller = &http.Client{Transport: newTransport(), Timeout: 10 * time.Second}

func newTransport() *http.Transport {
	return &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 64,
	}
}

// call fetches url; 0 stands for an error.
func call(ctx context.Context, url string) int {
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0
	}
	response, err := caller.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// answer tells the inner call's status by the outer one's.
func answer(w http.ResponseWriter, status int) {
	if status == 0 {
		status = http.StatusBadGateway
	}
	w.WriteHeader(status)
}

type job struct {
	ctx   context.Context
	url   string
	reply chan<- int
}

var jobs = make(chan job)

// startPool starts the goroutines of /call-pool: older than every request, so that only the context tells the parent.
func startPool() {
	for i := 0; i < 4; i++ {
		go func() {
			for j := range jobs {
				j.reply <- call(j.ctx, j.url)
			}
		}()
	}
}

// background counts the calls of /call-background; release lets those with `after` go.
var background sync.WaitGroup
var release = make(chan struct{})

func outgoing(mux *http.ServeMux) {
	mux.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) {
		answer(w, call(r.Context(), r.URL.Query().Get("url")))
	})
	mux.HandleFunc("/call-derived", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), copied{}, 1), 5*time.Second)
		defer cancel()
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		answer(w, call(ctx, r.URL.Query().Get("url")))
	})
	mux.HandleFunc("/call-bare", func(w http.ResponseWriter, r *http.Request) {
		answer(w, call(context.Background(), r.URL.Query().Get("url")))
	})
	mux.HandleFunc("/call-goroutine", func(w http.ResponseWriter, r *http.Request) {
		reply := make(chan int)
		descend(number(r, "depth", 3), r.URL.Query().Get("url"), reply)
		answer(w, <-reply)
	})
	mux.HandleFunc("/call-pool", func(w http.ResponseWriter, r *http.Request) {
		reply := make(chan int)
		jobs <- job{r.Context(), r.URL.Query().Get("url"), reply}
		answer(w, <-reply)
	})
	// The call outlives the request; with after=1 it only begins when a later request asks /release for it.
	mux.HandleFunc("/call-background", func(w http.ResponseWriter, r *http.Request) {
		url, after := r.URL.Query().Get("url"), number(r, "after", 0) != 0
		background.Add(1)
		go func() {
			defer background.Done()
			if after {
				<-release
			}
			call(context.Background(), url)
		}()
	})
	// Lets the waiting background calls begin, and answers when none is left.
	mux.HandleFunc("/release", func(w http.ResponseWriter, r *http.Request) {
		done := make(chan struct{})
		go func() {
			background.Wait()
			close(done)
		}()
		for {
			select {
			case release <- struct{}{}:
			case <-done:
				return
			}
		}
	})
}

// descend calls from a goroutine that is depth generations below this one, without a context.
func descend(depth int, url string, reply chan<- int) {
	go func() {
		if depth > 1 {
			descend(depth-1, url, reply)
			return
		}
		reply <- call(context.Background(), url)
	}()
}
