package gotaprt

import (
	"bytes"
	"context"
	"io"
)

// The keys by which what is logged names its span.
const (
	TraceKey = "trace_id"
	SpanKey  = "span_id"
)

var traceKey = []byte(TraceKey)

// Logged gives the span that is named by what is logged with ctx, which may be nil: the one that ctx carries if that is
// active, and the goroutine's where ctx carries none.
func Logged(ctx context.Context) *Span {
	if inert {
		return nil
	}
	s := FromContext(ctx)
	if s == nil {
		return Current()
	}
	if s.state.Load() != active {
		return nil
	}
	return s
}

// LogLine ends a line of package log with the ids of the goroutine's active span: ` trace_id=… span_id=…` in front of the
// newlines that end it. The buffer, which is the logger's own, keeps what was added. Lines that name a trace already
// stay as they are, and so do those of which out makes records. identified: the line is such a record.
func LogLine(out io.Writer, line *[]byte, identified bool) []byte {
	if identified {
		return *line
	}
	s := Logged(nil)
	if s == nil || makesRecords(out) || NamesTrace(*line) {
		return *line
	}
	text := *line
	end := len(text)
	for end > 0 && text[end-1] == '\n' {
		end--
	}
	newlines := len(text) - end
	text = append(text[:end], " "+TraceKey+"="...)
	text = appendHex(text, s.traceID[:])
	text = append(text, " "+SpanKey+"="...)
	text = appendHex(text, s.spanID[:])
	for ; newlines > 0; newlines-- {
		text = append(text, '\n')
	}
	*line = text
	return text
}

// makesRecords tells whether a logger's lines go to log/slog, which a woven program gives this method.
func makesRecords(out io.Writer) bool {
	_, ok := out.(interface{ GotapIdentifies() })
	return ok
}

// NamesTrace tells whether a text holds a trace's id behind its key: trace_id=…, trace_id: …, "trace_id":"…".
func NamesTrace(text []byte) bool {
	for {
		at := bytes.Index(text, traceKey)
		if at < 0 {
			return false
		}
		text = text[at+len(TraceKey):]
		value := bytes.TrimLeft(text, `=:" `)
		if len(value) >= 32 && len(value) < len(text) && isHex(string(value[:32])) {
			return true
		}
	}
}

func appendHex(to, bytes []byte) []byte {
	for _, one := range bytes {
		to = append(to, digits[one>>4], digits[one&15])
	}
	return to
}
