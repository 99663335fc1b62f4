//go:build go1.24

package main

import "net/http"

// allowCleartextHTTP2 makes server speak HTTP/2 without TLS, and says whether this Go's net/http can.
func allowCleartextHTTP2(server *http.Server) bool {
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return true
}

// cleartextHTTP2 is a transport that speaks HTTP/2 without TLS, or nil.
func cleartextHTTP2() http.RoundTripper {
	transport := newTransport()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport
}
