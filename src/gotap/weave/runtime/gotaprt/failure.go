package gotaprt

import (
	"context"
	"errors"
	"os"
	"reflect"
	"unicode/utf8"
	"unsafe"
)

const panicType = "panic"

// messageLimit is how many bytes of an error's text are kept.
const messageLimit = 1024

// wrappers are types that only wrap the error that counts (gotap.probe.catalog, `unwrap`). All give it by Unwrap.
var wrappers = map[string]bool{
	"*fmt.wrapError": true, "*net.OpError": true, "*os.SyscallError": true, "*net.DNSConfigError": true,
	"*io/fs.PathError": true, "*github.com/jackc/pgx/v5/pgconn.ConnectError": true,
	"*github.com/jackc/pgx/v5/pgconn.connectError": true, "*github.com/jackc/pgx/v5/pgconn.pgconnError": true,
	"*github.com/jackc/pgx/v5/pgconn.contextAlreadyDoneError": true,
	"*github.com/jackc/pgx/v5/pgconn.errTimeout":              true, "*github.com/jackc/pgconn.connectError": true,
	"*github.com/jackc/pgconn.pgconnError": true, "*github.com/jackc/pgconn.contextAlreadyDoneError": true,
	"*github.com/jackc/pgconn.errTimeout": true, "*net/url.Error": true, "net/http.nothingWrittenError": true,
	"net/http.transportReadFromServerError": true, "*crypto/tls.permanentError": true,
	"*crypto/tls.CertificateVerificationError": true, "crypto/x509.SystemRootsError": true,
}

// longestChain is how many wrappers are looked into, as in gotap's live mechanisms: an error may wrap itself.
const longestChain = 6

// Unwrap gives the error that counts, below those that only wrap it: one that wraps nothing counts itself.
func Unwrap(err error) (cause error) {
	if err == nil {
		return nil
	}
	cause = err
	defer func() { _ = recover() }()
	for i := 0; i < longestChain && wrappers[typeName(reflect.TypeOf(cause))]; i++ {
		inner := errors.Unwrap(cause)
		if inner == nil {
			break
		}
		cause = inner
	}
	return cause
}

// TypeOf is a column that holds the name of a value's dynamic type: *net/url.Error. It is empty for nil.
func TypeOf(value any) Text {
	if value == nil {
		return Text{"", columnWhole}
	}
	return Text{typeName(reflect.TypeOf(value)), columnWhole}
}

// Field gives a field of a struct, or of what a pointer to a struct points to, if the value's type has that name (as
// TypeOf gives it). The field may be one that other packages cannot name. It is slow: for errors, which are rare.
func Field(value any, name, field string) (found any, ok bool) {
	if value == nil || typeName(reflect.TypeOf(value)) != name {
		return nil, false
	}
	defer func() {
		if recover() != nil { // an embedded pointer is nil
			found, ok = nil, false
		}
	}()
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	} else {
		addressable := reflect.New(v.Type()).Elem()
		addressable.Set(v)
		v = addressable
	}
	if v.Kind() != reflect.Struct {
		return nil, false
	}
	f := v.FieldByName(field)
	if !f.IsValid() {
		return nil, false
	}
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Interface(), true
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
