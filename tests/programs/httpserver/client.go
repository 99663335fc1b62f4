package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Outcome counts what calls came to: by status, and by the Go type of the error that lies innermost.
type Outcome struct {
	Calls  int            `json:"calls"`
	Status map[string]int `json:"status"`
	Errors map[string]int `json:"errors"`
}

// runClient calls target n times, one after the other. Modes:
//
//	get         Client.Do, body read and closed
//	post        the same with a body
//	roundtrip   Transport.RoundTrip, no Client
//	late        the body is closed only when all calls are done
//	unread      the body is closed unread
//	timeout     Client.Timeout of 20 ms
//	deadline    a context with a deadline in 20 ms
//	canceled    a context that was cancelled before the call
//	cancel      a context that is cancelled 20 ms into the call
//	custom      a transport that returns an error type of its own
//	h2c         HTTP/2 without TLS (Go 1.24 and later)
//
// Refused connections, names that do not resolve and redirects are a matter of the target.
func runClient(mode, target string, n int) Outcome {
	outcome := Outcome{Status: map[string]int{}, Errors: map[string]int{}}
	transport := newTransport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	if mode == "h2c" {
		if client.Transport = cleartextHTTP2(); client.Transport == nil {
			log.Fatal("this Go's net/http has no HTTP/2 without TLS")
		}
	}
	if mode == "custom" {
		client.Transport = failing{}
	}
	if mode == "timeout" {
		client.Timeout = 20 * time.Millisecond
	}
	var late []io.Closer
	for i := 0; i < n; i++ {
		ctx, cancel := contextOf(mode)
		response, err := once(ctx, mode, client, target)
		outcome.Calls++
		if err != nil {
			outcome.Errors[fmt.Sprintf("%T", innermost(err))]++
			cancel()
			continue
		}
		outcome.Status[strconv.Itoa(response.StatusCode)]++
		if mode == "late" {
			late = append(late, response.Body)
			continue
		}
		if mode != "unread" {
			io.Copy(io.Discard, response.Body)
		}
		response.Body.Close()
		cancel()
	}
	for _, body := range late {
		body.Close()
	}
	return outcome
}

func contextOf(mode string) (context.Context, context.CancelFunc) {
	switch mode {
	case "deadline":
		return context.WithTimeout(context.Background(), 20*time.Millisecond)
	case "canceled":
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx, cancel
	case "cancel":
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		return ctx, cancel
	}
	return context.WithCancel(context.Background())
}

func once(ctx context.Context, mode string, client *http.Client, target string) (*http.Response, error) {
	method, body := "GET", io.Reader(nil)
	if mode == "post" {
		method, body = "POST", strings.NewReader("body")
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	check(err)
	if mode == "roundtrip" {
		return client.Transport.RoundTrip(request)
	}
	return client.Do(request)
}

type customError struct{}

func (customError) Error() string { return "of my own" }

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, customError{} }

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func report(out io.Writer, outcome Outcome) {
	text, err := json.Marshal(outcome)
	check(err)
	fmt.Fprintf(out, "%s\n", text)
}
