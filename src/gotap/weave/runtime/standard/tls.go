package tls

import (
	"crypto/x509"
	"errors"
	"net"
	"time"
	_ "unsafe" // go:linkname
)

// gotap_secure takes the place of the variable that gotaprt declares without a value: of two definitions the linker takes
// the one that has one (cmd/link/internal/loader, addSym). A program without gotaprt links none.
//
//go:linkname gotap_secure gotaprt.secure
var gotap_secure = gotap_client

// gotap_stream is what gotaprt has instead of connections of package net.
type gotap_stream = interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	Close() error
	SetDeadline(time.Time) error
}

type gotap_conn struct{ gotap_stream }

func (gotap_conn) LocalAddr() net.Addr                  { return nil }
func (gotap_conn) RemoteAddr() net.Addr                 { return nil }
func (c gotap_conn) SetReadDeadline(t time.Time) error  { return c.SetDeadline(t) }
func (c gotap_conn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

func gotap_client(raw gotap_stream, host string, authorities, certificate, key []byte) (gotap_stream, error) {
	config := &Config{ServerName: host, MinVersion: VersionTLS12}
	if len(authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, errors.New("OTEL_EXPORTER_OTLP_CERTIFICATE names a file without certificates in PEM")
		}
	}
	if len(certificate) > 0 {
		pair, err := X509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []Certificate{pair}
	}
	conn := Client(gotap_conn{raw}, config)
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	return conn, nil
}
