//go:build !go1.24

package main

import "net/http"

// allowCleartextHTTP2 says that net/http before Go 1.24 has no HTTP/2 without TLS; ../h2c shows it with x/net.
func allowCleartextHTTP2(server *http.Server) bool { return false }

func cleartextHTTP2() http.RoundTripper { return nil }
