// Httpload sends an exact number of requests and counts the answers:
//
//	httpload -n 100000 -c 16 URL...
//
// HTTP/1.1 with keep-alive for http URLs, HTTP/2 for https ones (any certificate). URLs are taken in turn. With -rate
// the requests start at fixed times, so that CPU per request can be compared between runs. For routes that abort the
// connection take -method POST: net/http repeats a lost GET by itself, and the server would see more than is counted
// here. It prints one JSON object:
//
//	{"requests": N, "status": {"200": N}, "errors": N, "seconds": S, "p50_ms": …, "p99_ms": …}.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

type result struct {
	Requests int            `json:"requests"`
	Status   map[string]int `json:"status"`
	Errors   int            `json:"errors"`
	Seconds  float64        `json:"seconds"`
	P50      float64        `json:"p50_ms"`
	P99      float64        `json:"p99_ms"`
}

type worker struct {
	status    map[int]int
	errors    int
	latencies []time.Duration
}

func main() {
	n := flag.Int("n", 1000, "requests")
	c := flag.Int("c", 8, "connections (HTTP/1.1) or concurrent streams (HTTP/2)")
	rate := flag.Float64("rate", 0, "requests per second over all connections; 0: as fast as answers come")
	method := flag.String("method", "GET", "method")
	flag.Parse()
	urls := flag.Args()
	if len(urls) == 0 || *n < 0 || *c < 1 {
		log.Fatal("want httpload [-n N] [-c C] [-rate R] URL...")
	}
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: *c,
			MaxConnsPerHost:     *c,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	workers := make([]worker, *c)
	var next int64
	var all sync.WaitGroup
	begin := time.Now()
	for i := range workers {
		all.Add(1)
		go func(w *worker) {
			defer all.Done()
			w.status = map[int]int{}
			for k := atomic.AddInt64(&next, 1) - 1; k < int64(*n); k = atomic.AddInt64(&next, 1) - 1 {
				if *rate > 0 {
					time.Sleep(time.Until(begin.Add(time.Duration(float64(k) / *rate * 1e9))))
				}
				w.request(client, *method, urls[k%int64(len(urls))])
			}
		}(&workers[i])
	}
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(summary(workers, time.Since(begin)))
}

func (w *worker) request(client *http.Client, method, url string) {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	begin := time.Now()
	response, err := client.Do(request)
	if err != nil {
		w.errors++
		return
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	w.status[response.StatusCode]++
	w.latencies = append(w.latencies, time.Since(begin))
}

func summary(workers []worker, took time.Duration) result {
	r := result{Status: map[string]int{}, Seconds: took.Seconds()}
	var latencies []time.Duration
	for _, w := range workers {
		r.Errors += w.errors
		r.Requests += w.errors
		for code, count := range w.status {
			r.Status[strconv.Itoa(code)] += count
			r.Requests += count
		}
		latencies = append(latencies, w.latencies...)
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	if len(latencies) > 0 {
		r.P50 = float64(latencies[len(latencies)/2]) / 1e6
		r.P99 = float64(latencies[len(latencies)*99/100]) / 1e6
	}
	return r
}
