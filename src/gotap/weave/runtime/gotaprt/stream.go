package gotaprt

import (
	"errors"
	"time"
)

// stream is a connection. Package net is not imported: it would make a static program one that is linked to the C
// library, and one that the runtime does not tell when all its goroutines sleep.
type stream = interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	Close() error
	SetDeadline(time.Time) error
}

// secure makes TLS of a connection to host: authorities, certificate and key are PEM, empty for none of the user's own.
// Package crypto/tls defines it where gotap has put a file there and the program links it; for the rest it is nil.
var secure func(raw stream, host string, authorities, certificate, key []byte) (stream, error)

var errNoTLS = errors.New("the program does not link crypto/tls, so that it can only export to http:// and not to https://")
