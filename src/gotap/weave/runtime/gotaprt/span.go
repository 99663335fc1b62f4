// Package gotaprt is what woven programs carry: spans, their parents, sampling, and their export by OTLP over HTTP.
//
// It is a package of the standard library as far as the woven program is concerned, so that net/http and database/sql
// can import it: it imports neither them nor anything that logs. Go 1.21 to 1.27.
package gotaprt

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is a span's kind, numbered as in OTLP's trace.proto.
type Kind uint8

const (
	Internal Kind = 1 + iota
	Server
	Client
	Producer
	Consumer
)

// The states of a span.
const (
	active uint32 = iota
	ended
	// strayed is a span that ended elsewhere than on the goroutine that it was begun on, which may still have it as its
	// current one: what encloses it is found in previous.
	strayed
	// discarded is a span of an operation that turned out to be none: contexts that carry it mean what is around it.
	discarded
)

// Span is one operation under way. A nil Span is valid everywhere and does nothing: it stands for an operation that is
// not sampled. Its methods may be called by several goroutines at once.
type Span struct {
	// context is what the operation was begun with. It is the first field, as in the contexts of the standard library,
	// so that whoever reads a program's memory gets from any context to those around it.
	context   context.Context
	previous  shared[Span] // the goroutine's current span when this one was begun
	record    *record
	operation shared[Operation] // whose span it is, until that ends
	goroutine uint64            // that began it; 0 where goroutines have no ids
	identity
	state atomic.Uint32
	// capturing guards what the operation captures, between Annotate and Annotated and while Class.End ends it.
	capturing sync.Mutex
	leaf      bool // never a parent: what is begun under it has the parent that it has itself
}

// began is what spans count their time from: reading the one clock that does not jump takes half of what both take. What
// time it was is found when spans are sent.
var began = time.Now()

// identity is what others need to know of a span.
type identity struct {
	traceState string
	traceID    [16]byte
	spanID     [8]byte // zero: there is no such span
	sampled    bool
	remote     bool
}

// record is what a sampled span collects, and the span itself: one allocation for both.
type record struct {
	Span
	next       *record // in the queue
	name       string
	scope      string        // of the instrumentation: a library of the catalogue; empty: gotap itself
	start      time.Duration // since `began`, as end
	end        time.Duration
	attributes []attribute
	room       *room // that attributes lie in, if they lie in one
	link       *identity
	lock       sync.Mutex // attributes, name, failed and message, until the span ends
	parentID   [8]byte
	lost       uint32 // attributes that found no room
	message    string // of the status
	kind       Kind
	failed     bool
	remote     bool // the parent is in another process
}

// Begin begins an operation and makes it current on the goroutine. The parent is the span that ctx carries, ended or
// not, else the goroutine's. attributes are key, value, key, value. The context returned carries the new span; it is
// ctx where nothing is to be told, and nil where ctx is.
func Begin(ctx context.Context, name string, attributes ...string) (context.Context, *Span) {
	return BeginKind(ctx, Internal, name, attributes...)
}

// BeginKind is Begin for operations of every kind.
func BeginKind(ctx context.Context, kind Kind, name string, attributes ...string) (context.Context, *Span) {
	if !roots && !anyRemote.Load() {
		return ctx, nil
	}
	local := current()
	if ctx == nil && local.silences() {
		return nil, nil
	}
	parent := FromContext(ctx)
	if parent != nil && parent.record == nil && (Local.Get == nil || local.silences()) {
		return ctx, nil
	}
	var link *Span
	if parent == nil {
		if parent, link = local.enclosing(); parent != nil && parent.record == nil {
			return ctx, nil
		}
	}
	if parent != nil {
		return begin(ctx, local, &parent.identity, nil, kind, name, attributes)
	}
	if !roots || silenced() {
		return ctx, nil
	}
	return begin(ctx, local, nil, link, kind, name, attributes)
}

// BeginRemote begins an operation that another process asked for, with the values of the headers traceparent and
// tracestate. Without a valid traceparent its parent is the span that ctx carries. The goroutine's span is none: what
// accepts requests was started by something else than the request.
func BeginRemote(ctx context.Context, kind Kind, name, traceparent, tracestate string, attributes ...string) (context.Context, *Span) {
	if inert {
		return ctx, nil
	}
	local := current()
	if caller, ok := parseTraceParent(traceparent); ok && propagates {
		caller.traceState = parseTraceState(tracestate)
		anyRemote.Store(true)
		return begin(ctx, local, &caller, nil, kind, name, attributes)
	}
	if parent := FromContext(ctx); parent != nil {
		return begin(ctx, local, &parent.identity, nil, kind, name, attributes)
	}
	if !roots {
		return ctx, nil
	}
	return begin(ctx, local, nil, nil, kind, name, attributes)
}

// begin makes the span and makes it current.
func begin(ctx context.Context, local *Span, parent *identity, link *Span, kind Kind, name string, attributes []string) (context.Context, *Span) {
	s := newSpan(parent, link)
	if r := s.record; r != nil {
		r.name, r.kind, r.start = name, kind, time.Since(began)
		r.setPairs(attributes)
	}
	s.context = ctx
	s.enter(local)
	if ctx == nil {
		return nil, s
	}
	return (*spanContext)(s), s
}

// newSpan gives a span its ids, and a record if it is sampled. parent is nil for a root, link nil for none.
func newSpan(parent *identity, link *Span) (s *Span) {
	var id identity
	if parent != nil {
		id.traceID, id.traceState = parent.traceID, parent.traceState
		id.sampled = sampling.child(parent)
		id.spanID = newSpanID()
	} else {
		id = newTrace(sampling)
	}
	if !id.sampled {
		s = &Span{}
		s.identity = id
		return s
	}
	r := &record{}
	s = &r.Span
	s.record, s.identity = r, id
	if parent != nil {
		r.parentID, r.remote = parent.spanID, parent.remote
	}
	if link != nil {
		r.link = &identity{traceState: link.traceState, traceID: link.traceID, spanID: link.spanID, sampled: link.sampled}
	}
	return s
}

// End ends the operation. Only the first end counts.
func (s *Span) End() {
	if s == nil || !s.state.CompareAndSwap(active, ended) {
		return
	}
	s.leave()
	if s.record != nil {
		s.record.finish()
	}
}

// EndWith ends the operation; an error that is not nil makes it a failed one.
func (s *Span) EndWith(err error) {
	if err != nil && s.IsRecording() {
		s.fail(errorType(err), errorText(err))
	}
	s.End()
}

// Recovered marks the operation as failed by a panic, whose value is not kept: it may hold what nobody else may see.
func (s *Span) Recovered(any) {
	s.Fail(panicType)
}

// Fail marks the operation as failed: the status is that of an error, and the first errorType that was given stays.
func (s *Span) Fail(errorType string) {
	s.fail(errorType, "")
}

func (s *Span) fail(errorType, message string) {
	if r := s.open(); r != nil {
		if r.failed = true; r.message == "" {
			r.message = message
		}
		if !r.has(errorTypeKey) {
			r.set(attribute{key: errorTypeKey, text: errorType, kind: textKind})
		}
		r.lock.Unlock()
	}
}

// SetName gives the operation another name, one that was not known when it began.
func (s *Span) SetName(name string) {
	if r := s.open(); r != nil {
		r.name = name
		r.lock.Unlock()
	}
}

// SetString, SetInt, SetFloat and SetBool set an attribute; a later value of a key replaces the earlier one.
func (s *Span) SetString(key, value string) {
	if r := s.open(); r != nil {
		r.set(attribute{key: key, text: value, kind: textKind})
		r.lock.Unlock()
	}
}

func (s *Span) SetInt(key string, value int64) {
	if r := s.open(); r != nil {
		r.set(attribute{key: key, number: uint64(value), kind: intKind})
		r.lock.Unlock()
	}
}

func (s *Span) SetFloat(key string, value float64) {
	if r := s.open(); r != nil {
		r.set(attribute{key: key, number: floatBits(value), kind: floatKind})
		r.lock.Unlock()
	}
}

func (s *Span) SetBool(key string, value bool) {
	if r := s.open(); r != nil {
		one := attribute{key: key, kind: boolKind}
		if value {
			one.number = 1
		}
		r.set(one)
		r.lock.Unlock()
	}
}

// IsRecording tells whether attributes are kept, so that their values need not be made in vain.
func (s *Span) IsRecording() bool {
	return s != nil && s.record != nil && s.state.Load() == active
}

// IDs gives the span's trace and span id in hexadecimal digits, for what is to be found next to it: lines of a log.
func (s *Span) IDs() (trace, span string) {
	if s == nil {
		return "", ""
	}
	return hexadecimal(s.traceID[:]), hexadecimal(s.spanID[:])
}

// open gives the record, locked, as long as it takes changes, and nil afterwards.
func (s *Span) open() *record {
	if s == nil || s.record == nil {
		return nil
	}
	r := s.record
	r.lock.Lock()
	// A span's state changes before finish takes the lock, so what is found active here is finished later.
	if s.state.Load() != active {
		r.lock.Unlock()
		return nil
	}
	return r
}

// finish hands the span over to the exporter.
func (r *record) finish() {
	r.lock.Lock()
	r.end = time.Since(began)
	r.lock.Unlock()
	queue.push(r)
}
