package gotaprt

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"os"
	"strconv"
	"strings"
	"time"
)

// poster sends requests over one HTTP/1.1 connection, which it keeps. net/http would be instrumented, and is not in
// every program.
type poster struct {
	settings   exportSettings
	host, port string
	head       string // what stands in each request before the length
	secure     bool
	pem        [3][]byte // authorities, certificate, key
	conn       stream
	reader     *bufio.Reader
	compressor *gzip.Writer
	compressed bytes.Buffer
	message    []byte // the last one that was sent
	noun       string // what is sent, in messages
}

// result is what became of a request. again: the same request may be sent once more, after wait.
type result struct {
	problem string
	wait    time.Duration
	again   bool
}

func newPoster(settings exportSettings, noun string) (*poster, error) {
	u := settings.url
	p := &poster{settings: settings, noun: noun, host: u.Hostname(), port: u.Port(), secure: u.Scheme == "https"}
	switch {
	case p.port != "":
	case p.secure:
		p.port = "443"
	default:
		p.port = "80"
	}
	if p.secure {
		if secure == nil {
			return nil, errNoTLS
		}
		for i, path := range []string{settings.authorities, settings.certificate, settings.key} {
			if path == "" {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			p.pem[i] = text
		}
	}
	var head strings.Builder
	head.WriteString("POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\n")
	fields := map[string]bool{"content-type": true, "content-length": true, "host": true, "connection": true,
		"transfer-encoding": true, "content-encoding": true, "accept-encoding": true}
	for _, pair := range settings.headers {
		if name := strings.ToLower(pair[0]); !fields[name] {
			fields[name] = true
			head.WriteString(pair[0] + ": " + pair[1] + "\r\n")
		}
	}
	if !fields["user-agent"] {
		head.WriteString("User-Agent: gotap/" + Version + "\r\n")
	}
	if settings.gzip {
		head.WriteString("Content-Encoding: gzip\r\n")
	}
	head.WriteString("Content-Type: application/x-protobuf\r\nContent-Length: ")
	p.head = head.String()
	return p, nil
}

// post sends a body and waits for the answer until the deadline. A kept connection that the server has closed in the
// meantime is renewed once.
func (p *poster) post(body []byte, deadline time.Time) result {
	kept := p.conn != nil
	answer, err := p.exchange(body, deadline)
	if kept && err != nil && !answer.begun && time.Now().Before(deadline) {
		answer, err = p.exchange(body, deadline)
	}
	if err != nil {
		return result{problem: p.settings.url.Host + ": " + err.Error(), again: true}
	}
	problem := p.settings.url.Host + " answered " + strconv.Itoa(answer.status)
	switch answer.status {
	case 429, 502, 503, 504: // opentelemetry-proto, docs/specification.md, Retryable Response Codes
		return result{problem: problem, wait: answer.retryAfter, again: true}
	}
	if answer.status < 200 || answer.status > 299 {
		return result{problem: problem}
	}
	if rejected := rejectedOf(answer.body); rejected > 0 {
		return result{problem: problem + ", but rejected " + strconv.FormatUint(rejected, 10) + " " + p.noun}
	}
	return result{}
}

func (p *poster) exchange(body []byte, deadline time.Time) (answer answer, err error) {
	defer func() {
		if err != nil || !answer.keep {
			p.close()
		}
	}()
	if p.conn == nil {
		if err = p.connect(deadline); err != nil {
			return answer, err
		}
	}
	if err = p.conn.SetDeadline(deadline); err != nil {
		return answer, err
	}
	p.message = strconv.AppendInt(append(p.message[:0], p.head...), int64(len(body)), 10)
	p.message = append(append(p.message, "\r\n\r\n"...), body...)
	if _, err = p.conn.Write(p.message); err != nil {
		// A server that does not want the whole request may have said so before it closed the connection.
		if answer, early := readAnswer(p.reader); early == nil {
			answer.keep = false
			return answer, nil
		}
		return answer, err
	}
	return readAnswer(p.reader)
}

func (p *poster) connect(deadline time.Time) error {
	conn, err := dial(p.host, p.port, deadline)
	if err != nil {
		return err
	}
	if p.secure {
		conn.SetDeadline(deadline)
		secured, err := secure(conn, p.host, p.pem[0], p.pem[1], p.pem[2])
		if err != nil {
			conn.Close()
			return err
		}
		conn = secured
	}
	p.conn, p.reader = conn, bufio.NewReader(conn)
	return nil
}

func (p *poster) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn, p.reader = nil, nil
	}
}

// encoded gives the body as it is to be posted, in a buffer that the next one is made in.
func (p *poster) encoded(body []byte) []byte {
	if !p.settings.gzip {
		return body
	}
	p.compressed.Reset()
	if p.compressor == nil {
		p.compressor, _ = gzip.NewWriterLevel(&p.compressed, gzip.BestSpeed)
	} else {
		p.compressor.Reset(&p.compressed)
	}
	p.compressor.Write(body)
	p.compressor.Close()
	return p.compressed.Bytes()
}

// rejectedOf reads partial_success of an answer: rejected_spans or rejected_data_points; 0 where there is none.
func rejectedOf(body []byte) uint64 {
	partial, _ := protobufField(body, 1)
	_, rejected := protobufField(partial, 1)
	return rejected
}
