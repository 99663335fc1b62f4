package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/http"
	"time"
)

// request asks a web server of its own for a path: /fast is answered at once, /slow/ and what is below after 30 ms.
func request(path string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/fast", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("fast\n")) })
	mux.HandleFunc("/slow/", slow)
	server := http.Server{Handler: mux}
	go server.Serve(listener)
	defer server.Close()
	response, err := http.Get("http://" + listener.Addr().String() + path)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func slow(w http.ResponseWriter, r *http.Request) {
	time.Sleep(30 * time.Millisecond) // longer than what slowhttp takes for slow
	w.WriteHeader(http.StatusTeapot)
}

// resolve asks a name server of its own, which knows tea.example and nothing else; without Go's resolver, libc.
func resolve(name string) error {
	if name == "localhost" {
		_, err := net.DefaultResolver.LookupHost(context.Background(), name)
		return err
	}
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer server.Close()
	go answerNames(server)
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	_, err = resolver.LookupIPAddr(context.Background(), name)
	var unknown *net.DNSError
	if errors.As(err, &unknown) && unknown.IsNotFound {
		return nil
	}
	return err
}

// answerNames answers questions (RFC 1035) until the server is closed: 10.1.2.3 for tea.example, and for anything else
// that the name does not exist.
func answerNames(server net.PacketConn) {
	const known = "\x03tea\x07example\x00"
	packet := make([]byte, 512)
	for {
		n, from, err := server.ReadFrom(packet)
		if err != nil {
			return
		}
		if n < 12 {
			continue
		}
		question := packet[12:n]
		end := 0
		for end < len(question) && question[end] != 0 {
			end += int(question[end]) + 1
		}
		if end+5 > len(question) {
			continue
		}
		reply := append([]byte{}, packet[0], packet[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0)
		reply = append(reply, question[:end+5]...)
		name, kind := string(question[:end+1]), question[end+2]
		switch {
		case name != known:
			reply[3] = 3 // NXDOMAIN
		case kind == 1:
			reply[7] = 1
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3)
		}
		server.WriteTo(reply, from)
	}
}

// handshakes: one that succeeds, and one that the client breaks off, since it does not know who signed.
func handshakes(string) error {
	certificate, authority, err := certify()
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	if err != nil {
		return err
	}
	defer listener.Close()
	for _, trusted := range []*x509.CertPool{authority, x509.NewCertPool()} {
		served := make(chan error, 1)
		go func() { served <- accept(listener) }()
		connection, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: "tea.example", RootCAs: trusted})
		if err == nil {
			connection.Close()
		}
		<-served
	}
	return nil
}

func accept(listener net.Listener) error {
	connection, err := listener.Accept()
	if err != nil {
		return err
	}
	defer connection.Close()
	return connection.(*tls.Conn).Handshake()
}

// certify makes a certificate for tea.example that has signed itself.
func certify() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{"tea.example"},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	parsed, err := x509.ParseCertificate(signed)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	authority := x509.NewCertPool()
	authority.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key}, authority, nil
}
