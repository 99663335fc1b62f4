package gotaprt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// What an answer may hold: a server that sends more is not read to its end, and its connection not kept.
const (
	lineLimit   = 8 << 10
	headerLimit = 100
	answerLimit = 64 << 10
)

// longestSilence is how long a server is left alone that asks for more.
const longestSilence = time.Hour

// answer is what of an HTTP/1 response matters here.
type answer struct {
	body       []byte
	status     int
	retryAfter time.Duration
	begun      bool // some of it came
	keep       bool // the connection may be used again
}

var (
	errNotHTTP = errors.New("what answers there does not speak HTTP")
	errTooLong = errors.New("its answer is longer than an OTLP server's")
)

// readAnswer reads a response (RFC 9112); those of status 1xx come before the one that counts.
func readAnswer(reader *bufio.Reader) (found answer, err error) {
	if _, err = reader.Peek(1); err != nil {
		return found, err
	}
	found.begun = true
	for found.status < 200 {
		line, err := readLine(reader)
		if err != nil {
			return found, err
		}
		protocol, rest, _ := strings.Cut(line, " ")
		code, _, _ := strings.Cut(rest, " ")
		if found.status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(protocol, "HTTP/1.") || found.status < 100 {
			return found, errNotHTTP
		}
		found.keep = protocol != "HTTP/1.0"
		if err = found.readRest(reader); err != nil {
			return found, err
		}
	}
	return found, nil
}

// readRest reads the header fields and the body.
func (a *answer) readRest(reader *bufio.Reader) error {
	length := int64(-1)
	chunked := false
	for count := 0; ; count++ {
		line, err := readLine(reader)
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || count == headerLimit {
			return errNotHTTP
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.ParseInt(value, 10, 64); err != nil || length < 0 {
				return errNotHTTP
			}
		case "transfer-encoding":
			chunked = strings.EqualFold(value, "chunked")
		case "connection":
			a.keep = a.keep && !strings.Contains(strings.ToLower(value), "close")
		case "retry-after":
			a.retryAfter = retryAfter(value)
		}
	}
	switch {
	case a.status < 200, a.status == 204, a.status == 304:
		return nil
	case chunked:
		return a.readChunks(reader)
	case length >= 0:
		return a.readBytes(reader, length)
	}
	a.keep = false
	body, err := io.ReadAll(io.LimitReader(reader, answerLimit))
	a.body = body
	return err
}

func (a *answer) readChunks(reader *bufio.Reader) error {
	for {
		line, err := readLine(reader)
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(line, ";")
		length, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
		if err != nil || length < 0 {
			return errNotHTTP
		}
		if length == 0 {
			break
		}
		if err = a.readBytes(reader, length); err != nil {
			return err
		}
		if line, err = readLine(reader); err != nil || line != "" {
			return errNotHTTP
		}
	}
	for count := 0; count < headerLimit; count++ { // trailers
		if line, err := readLine(reader); err != nil || line == "" {
			return err
		}
	}
	return errNotHTTP
}

func (a *answer) readBytes(reader *bufio.Reader, length int64) error {
	if length > answerLimit-int64(len(a.body)) {
		return errTooLong
	}
	before := len(a.body)
	a.body = append(a.body, make([]byte, length)...)
	_, err := io.ReadFull(reader, a.body[before:])
	return err
}

// readLine reads a line without its end.
func readLine(reader *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := reader.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if err != bufio.ErrBufferFull {
			return "", err
		}
		if len(line) > lineLimit {
			return "", errNotHTTP
		}
	}
}

// httpDate is the form of dates that HTTP asks of senders (RFC 9110, section 5.6.7).
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// retryAfter reads seconds or a date; 0: it says neither.
func retryAfter(value string) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if when, err := time.Parse(httpDate, value); err == nil {
		wait = time.Until(when)
	}
	if wait > longestSilence {
		return longestSilence
	}
	return wait
}

// protobufField gives the last field of that number: its bytes, or the value of a varint. What is no protobuf has none.
func protobufField(message []byte, number uint64) (content []byte, value uint64) {
	for len(message) > 0 {
		tag, size := binary.Uvarint(message)
		if size <= 0 {
			return nil, 0
		}
		message = message[size:]
		var one uint64
		if wire := tag & 7; wire == varintType || wire == bytesType {
			if one, size = binary.Uvarint(message); size <= 0 {
				return nil, 0
			}
			message = message[size:]
		}
		length := uint64(0)
		switch tag & 7 {
		case bytesType:
			length = one
		case fixed64Type:
			length = 8
		case fixed32Type:
			length = 4
		}
		if length > uint64(len(message)) {
			return nil, 0
		}
		if tag>>3 == number {
			content, value = message[:length], one
		}
		message = message[length:]
	}
	return content, value
}
