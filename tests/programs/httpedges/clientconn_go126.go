//go:build go1.26

package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
)

// overConnection calls over a connection of its own, that no transport has in its pool.
func overConnection(ctx context.Context, target *url.URL) string {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	conn, err := transport.NewClientConn(ctx, target.Scheme, net.JoinHostPort(target.Hostname(), target.Port()))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	request, err := http.NewRequestWithContext(ctx, "GET", target.String(), nil)
	if err != nil {
		return err.Error()
	}
	response, err := conn.RoundTrip(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.Status
}
