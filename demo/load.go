package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// load sends requests at a steady rate until its time is over, and tells how many were answered.
func load(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("shop load", flag.ExitOnError)
	ready := flags.String("ready", "", "file in which the service tells its address")
	duration := flags.Duration("for", 8*time.Second, "how long")
	rate := flags.Int("rate", 200, "requests per second")
	wait := flags.Duration("wait", 20*time.Second, "how long to wait for the service")
	flags.Parse(args)

	address, err := awaitService(ctx, *ready, *wait)
	if ctx.Err() != nil {
		return nil // told to stop
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 16},
		Timeout:   2 * time.Second,
	}
	tick := time.NewTicker(time.Second / time.Duration(*rate))
	defer tick.Stop()
	var running sync.WaitGroup
	slots := make(chan struct{}, 16) // so that a service that hangs is not buried
	for {
		select {
		case <-ctx.Done():
			running.Wait()
			return nil
		case <-tick.C:
		}
		select {
		case slots <- struct{}{}:
		default:
			continue
		}
		running.Add(1)
		go func() {
			defer running.Done()
			defer func() { <-slots }()
			send(client, "http://"+address)
		}()
	}
}

// awaitService gives the address that the service writes when it is ready.
func awaitService(ctx context.Context, file string, wait time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		address, err := os.ReadFile(file)
		if err == nil {
			return strings.TrimSpace(string(address)), nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no service has written %s within %s", file, wait)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// send makes one request of a mix; some come with a trace of their own, as from a traced caller.
func send(client *http.Client, base string) {
	method, path := http.MethodGet, ""
	switch n := rand.IntN(100); {
	case n < 45:
		path = fmt.Sprintf("/products/%d", rand.IntN(40))
	case n < 65:
		path = "/products?q=tea&sig=c2VjcmV0"
	case n < 95:
		method, path = http.MethodPost, fmt.Sprintf("/orders?id=%d", rand.IntN(40))
	case n < 98:
		path = "/report"
	default:
		path = "/nowhere"
	}
	request, err := http.NewRequest(method, base+path, nil)
	if err != nil {
		return
	}
	if rand.IntN(4) == 0 {
		request.Header.Set("Traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", rand.Uint64(), rand.Uint64(), rand.Uint64()))
	}
	response, err := client.Do(request)
	if err != nil {
		return // the service says what it thinks of it
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}
