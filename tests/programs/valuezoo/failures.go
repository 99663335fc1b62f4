package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

type ownError struct{ Code int }

func (e *ownError) Error() string { return fmt.Sprint("own error ", e.Code) }

type textError string

func (e textError) Error() string { return "text: " + string(e) }

func failures() {
	plain := errors.New("it failed")
	fail := func(name string, err error) { add(name, err, err.Error()) }
	fail("errors.New", plain)
	fail("io.EOF", io.EOF)
	fail("wrapped", fmt.Errorf("outer: %w", plain))
	fail("wrapped twice", fmt.Errorf("second: %w", fmt.Errorf("first: %w", plain)))
	fail("formatted", fmt.Errorf("no wrapping: %v", plain))
	_, err := os.Open("/nonexistent/file")
	fail("*fs.PathError", err)
	fail("*os.LinkError", os.Rename("/nonexistent/a", "/nonexistent/b"))
	fail("*os.SyscallError", os.NewSyscallError("connect", syscall.ECONNREFUSED))
	fail("closed file", &fs.PathError{Op: "read", Path: "x", Err: fs.ErrClosed})
	fail("deadline", os.ErrDeadlineExceeded)
	var errnos []error
	for errno := syscall.Errno(0); errno < 140; errno++ {
		errnos = append(errnos, errno)
	}
	add("all of syscall.Errno", errnos)
	fail("syscall.Errno", syscall.EAGAIN)
	add("bare errno", syscall.ENOENT)
	_, err = strconv.Atoi("12x\"")
	fail("*strconv.NumError", err)
	_, err = strconv.ParseInt("99999999999999999999", 10, 64)
	fail("*strconv.NumError range", err)
	_, err = url.Parse("http://a b.com/")
	fail("*url.Error", err)
	_, err = url.Parse("http://x/%zz")
	fail("*url.Error escape", err)
	_, err = time.Parse(time.RFC3339, "yesterday")
	fail("*time.ParseError", err)
	_, err = time.Parse(time.RFC3339, "2020-13-01T00:00:00Z")
	fail("*time.ParseError range", err)
	fail("context.Canceled", context.Canceled)
	fail("context.DeadlineExceeded", context.DeadlineExceeded)
	fail("*json.SyntaxError", json.Unmarshal([]byte("{"), new(any)))
	fail("*exec.Error", &exec.Error{Name: "no such", Err: exec.ErrNotFound})

	four, six := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}, &net.UDPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}
	fail("*net.OpError", &net.OpError{Op: "dial", Net: "tcp", Source: four, Addr: six, Err: syscall.ECONNREFUSED})
	fail("*net.OpError to", &net.OpError{Op: "dial", Net: "tcp", Addr: four, Err: os.NewSyscallError("connect", syscall.EACCES)})
	fail("*net.OpError bare", &net.OpError{Op: "accept", Err: errors.New("closed")})
	fail("*net.OpError unix", &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: "/run/x", Net: "unix"}, Err: plain})
	fail("*net.DNSError", &net.DNSError{Err: "no such host", Name: "example.invalid", Server: "127.0.0.53:53"})
	fail("*net.DNSError bare", &net.DNSError{Err: "no such host", Name: "example.invalid"})
	_, err = net.ResolveTCPAddr("tcp", "nohost")
	fail("*net.AddrError", err)
	_, _, err = net.ParseCIDR("10.0.0.1")
	fail("*net.ParseError", err)
	fail("net.UnknownNetworkError", net.UnknownNetworkError("carrier pigeon"))
	fail("*url.Error of *net.OpError", &url.Error{Op: "Get", URL: "http://localhost:1/", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}})
	fail("runtime error", panicking(func() { _ = *(*int)(nil) }))

	add("own error", error(&ownError{5}), "&{Code:5}")
	add("text error", error(textError("x")), "x")
	add("error with own cause", fmt.Errorf("outer: %w", &ownError{5}))
	add("error in struct", holder{Err: plain})
	var missing *ownError
	add("nil pointer in error", error(missing), "<nil>")
}

func panicking(do func()) (err error) {
	defer func() { err = recover().(error) }()
	do()
	return nil
}
