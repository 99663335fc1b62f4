package gotaprt

import (
	"context"
	"errors"
	"os"
	"reflect"
	"unicode/utf8"
)

const panicType = "panic"

// messageLimit is how many bytes of an error's text are kept.
const messageLimit = 1024

// wrappers are types that only wrap the error that counts (gotap.probe.catalog, net_http.yaml, `unwrap`).
var wrappers = map[string]bool{
	"*net/url.Error": true, "*net.OpError": true, "*os.SyscallError": true, "*fmt.wrapError": true,
	"net/http.nothingWrittenError": true, "net/http.transportReadFromServerError": true, "*net.DNSConfigError": true,
	"*crypto/tls.permanentError": true, "*crypto/tls.CertificateVerificationError": true,
	"crypto/x509.SystemRootsError": true, "*io/fs.PathError": true,
}

// errorType is error.type of an error, as gotap finds it in a program's memory (gotap.probe.convert.go_error): timeout,
// canceled, or the name of the type below those that only wrap.
func errorType(err error) (name string) {
	// Methods of the program's own types may panic; an error's class is not worth a crash.
	defer func() { _ = recover() }()
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		switch cause {
		case context.DeadlineExceeded, os.ErrDeadlineExceeded:
			return "timeout"
		case context.Canceled:
			return "canceled"
		}
		if name = typeName(reflect.TypeOf(cause)); !wrappers[name] {
			break
		}
	}
	return name
}

// errorText is what the error says, cut at a character where it is long; empty if saying it panics.
func errorText(err error) (text string) {
	defer func() { _ = recover() }()
	text = err.Error()
	if len(text) > messageLimit {
		end := messageLimit
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return text
}

// typeName is a type's name with the whole path of its package.
func typeName(t reflect.Type) string {
	switch {
	case t.Name() != "" && t.PkgPath() != "":
		return t.PkgPath() + "." + t.Name()
	case t.Name() == "" && t.Kind() == reflect.Pointer:
		return "*" + typeName(t.Elem())
	}
	return t.String()
}
