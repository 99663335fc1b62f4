//go:build !go1.26

package main

import (
	"context"
	"net/url"
)

// overConnection has no counterpart before Go 1.26's Transport.NewClientConn.
func overConnection(ctx context.Context, target *url.URL) string { return "" }
