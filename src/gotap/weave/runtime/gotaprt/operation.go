package gotaprt

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// Class is what all operations of one kind have in common: an operation of gotap's catalogue, as one package has it.
// Generated code has its classes in variables of the package that is woven.
type Class struct {
	Library    string // the instrumentation scope: net/http
	Name       string // the operation: http.server
	Kind       Kind
	Scope      bool // spans that begin under one of these are its children
	SpanName   []Part
	Attributes []string // the keys of the values that Finish gets
	Metric     string   // the histogram of durations; empty: none
	Dimensions []int    // the metric's attributes: indices of Attributes
	// At ends an operation at a place of another function than the one that it began in; see Class.End.
	At func(op *Operation, place int, panicked any)

	meter shared[meter] // what its durations are counted with, once there are some
}

// Part is a piece of the template of a span's name: Text, or if that is empty, the value of the attribute with the index
// Key, if it is absent of the first one of Else that is not, shown as Instead has it. Where all are absent it vanishes with
// the blank before it.
type Part struct {
	Key     int
	Else    []int
	Text    string
	Instead map[string]string
}

// Operation is one operation under way. Generated code embeds it in a struct with what it captures. Its memory is the
// caller's, who may use it again once it has ended. Other goroutines look at it under its span's lock only, while it is
// the one that the span refers to.
type Operation struct {
	class   *Class
	span    *Span
	subject unsafe.Pointer
	start   time.Duration // since `began`; only where a duration is measured or a span recorded
	notes   []note        // what annotations of other packages have captured
	unwound bool          // a panic ends it, and leaves the function that began it
}

// Begin begins an operation on this goroutine. With headers that are not nil it is BeginRemote. Otherwise its parent is
// the span that ctx carries, else the goroutine's.
//
// It gives false, and leaves op alone, if nothing is to begin: the program's settings disable everything, or the
// goroutine is in an operation of the class that it began itself, and about the same subject if there is one. The context
// is the one for what is done in the operation: it carries the span where the class is a scope and ctx is not nil.
func (c *Class) Begin(op *Operation, ctx context.Context, headers map[string][]string, subject unsafe.Pointer) (context.Context, bool) {
	if headers != nil {
		return c.BeginRemote(op, ctx, headers, subject)
	}
	if inert {
		return ctx, false
	}
	local := current()
	if c.isOpen(local, subject) {
		return ctx, false
	}
	var link *Span
	parent := FromContext(ctx)
	if parent == nil {
		parent, link = local.enclosing()
	}
	if parent == nil && silenced() {
		unsampled := unsampledTrace(sampling)
		return c.begin(op, ctx, local, &unsampled, nil, subject), true
	}
	if parent == nil {
		return c.begin(op, ctx, local, nil, link, subject), true
	}
	return c.begin(op, ctx, local, &parent.identity, nil, subject), true
}

// BeginRemote begins an operation that another process asked for by a message with these headers, whose keys are
// canonical as those of net/http. The parent is the span that they name, else the one that ctx carries: the goroutine's
// is none, since what accepts messages was started by something else than the message.
func (c *Class) BeginRemote(op *Operation, ctx context.Context, headers map[string][]string, subject unsafe.Pointer) (context.Context, bool) {
	if inert {
		return ctx, false
	}
	local := current()
	if c.isOpen(local, subject) {
		return ctx, false
	}
	if propagates {
		if caller, ok := parentOf(headers); ok {
			return c.begin(op, ctx, local, &caller, nil, subject), true
		}
	}
	if parent := FromContext(ctx); parent != nil {
		return c.begin(op, ctx, local, &parent.identity, nil, subject), true
	}
	return c.begin(op, ctx, local, nil, nil, subject), true
}

func (c *Class) begin(op *Operation, ctx context.Context, local *Span, parent *identity, link *Span, subject unsafe.Pointer) context.Context {
	s := newSpan(parent, link)
	if r := s.record; r != nil {
		r.kind, r.scope = c.Kind, c.Library
	}
	if s.record != nil || c.measures() {
		op.start = time.Since(began)
	}
	op.class, op.span, op.subject = c, s, subject
	s.leaf = !c.Scope
	s.operation.begin(op)
	s.enter(local)
	if !c.Scope || ctx == nil {
		return ctx
	}
	s.context = ctx
	return (*spanContext)(s)
}

// isOpen tells whether this goroutine, whose span is given, has begun an operation like this one that has not ended.
// Classes of the same name are one operation: a library's code may lie in two packages.
func (c *Class) isOpen(s *Span, subject unsafe.Pointer) bool {
	if s == nil {
		return false
	}
	for id := goroutineID(); s != nil && s.goroutine == id; s = s.previous.load() {
		op := s.operation.load()
		if op != nil && op.class.is(c) && (subject == nil || op.subject == subject) {
			return true
		}
	}
	return false
}

// is tells whether two classes are of one operation of the catalogue, be it in two packages.
func (c *Class) is(other *Class) bool {
	return c == other || c.Name == other.Name && c.Library == other.Library
}

// Open gives the innermost operation of this very class that this very goroutine has begun and that has not ended; nil
// if there is none. Those that a goroutine inherits are not its own.
func (c *Class) Open() *Operation {
	s := current()
	if s == nil {
		return nil
	}
	for id := goroutineID(); s != nil && s.goroutine == id; s = s.previous.load() {
		if op := s.operation.load(); op != nil && op.class == c {
			return op
		}
	}
	return nil
}

// Annotate gives the operation of this name that the goroutine is in: its own, else the innermost one that it inherits, as
// handlers do that run on goroutines of their own. It may be of another package's class. Annotated has to be called when all
// is captured: until then Class.End waits.
func (c *Class) Annotate() *Operation {
	for s := current(); s != nil; s = s.previous.load() {
		if s.operation.load() == nil {
			continue
		}
		s.capturing.Lock()
		if op := s.operation.load(); op != nil && op.class.is(c) { // nil: it has just ended
			return op
		}
		s.capturing.Unlock()
	}
	return nil
}

// Annotated is called behind what Annotate was called for.
func (op *Operation) Annotated() { op.span.capturing.Unlock() }

// Recording tells whether the values of all attributes are wanted.
func (op *Operation) Recording() bool {
	return op != nil && op.span != nil && op.span.record != nil
}

// Measured tells whether the values of the metric's attributes are wanted.
func (op *Operation) Measured() bool {
	return op != nil && op.class != nil && op.class.measures()
}

// Headers gives the values of traceparent and tracestate for a message that this operation sends. Empty ones are not to
// be sent.
func (op *Operation) Headers() (traceParent, traceState string) {
	if op == nil || op.span == nil || !propagates {
		return "", ""
	}
	return formatTraceParent(&op.span.identity), op.span.traceState
}

// Finish ends the operation with the values of its class's attributes, which are not kept: those that are not wanted may
// be absent. The operation has failed exactly if it has an error.type. Only the first end counts. It gives the point of
// the metric that the duration was added to; nil: it was not.
func (op *Operation) Finish(values []Value) (at *point) {
	r, measured := op.end()
	if !measured && r == nil {
		return nil
	}
	end := time.Since(began)
	if measured {
		at = op.class.measure(op, values, (end - op.start).Seconds())
	}
	if r != nil {
		r.finishOperation(op, values, end)
	}
	return at
}

// Discard ends the operation as none: nothing is told of it.
func (op *Operation) Discard() {
	if op == nil || op.span == nil {
		return
	}
	s := op.span
	op.end()
	s.state.CompareAndSwap(ended, discarded)
}

// end takes the operation from the goroutine. It gives the record to finish, nil if there is none, and whether the
// duration counts.
func (op *Operation) end() (r *record, measured bool) {
	if op == nil || op.span == nil || !op.span.state.CompareAndSwap(active, ended) {
		return nil, false
	}
	s := op.span
	s.operation.store(nil)
	s.leave()
	op.subject = nil
	return s.record, op.class.measures()
}

func (r *record) finishOperation(op *Operation, values []Value, end time.Duration) {
	c := op.class
	if len(values) > len(c.Attributes) {
		values = values[:len(c.Attributes)]
	}
	name := c.spanName(values)
	r.lock.Lock()
	if r.name == "" {
		r.name = name
	}
	r.setValues(c.Attributes, values)
	r.start, r.end = op.start, end
	r.lock.Unlock()
	queue.push(r)
}

// setValues sets the attributes that are there; error.type is what tells that the operation has failed.
func (r *record) setValues(keys []string, values []Value) {
	count := 0
	for i := range values {
		if values[i].kind != noValue {
			count++
		}
	}
	own := len(r.attributes) > 0 // somebody else has set some
	if !own {
		r.makeRoom(count)
	}
	for i := range values {
		if values[i].kind == noValue {
			continue
		}
		if keys[i] == errorTypeKey {
			r.failed = true
		}
		if one := values[i].attribute(keys[i]); own {
			r.set(one)
		} else {
			r.attributes = append(r.attributes, one)
		}
	}
}

// spanName fills in the template.
func (c *Class) spanName(values []Value) string {
	if len(c.SpanName) == 1 {
		return strings.TrimSpace(c.SpanName[0].shown(values))
	}
	var room [128]byte
	name := room[:0]
	for i := range c.SpanName {
		shown := c.SpanName[i].shown(values)
		if i > 0 && shown == "" && strings.HasSuffix(c.SpanName[i-1].Text, " ") {
			name = name[:len(name)-1]
		}
		name = append(name, shown...)
	}
	return keptName(bytes.TrimSpace(name))
}

// names has some of the names that spans got: those of a program are few.
var names [64]atomic.Pointer[string]

// keptName gives a name as a string, the one that an earlier span has if it has the same.
func keptName(name []byte) string {
	if len(name) == 0 {
		return ""
	}
	place := &names[(len(name)+int(name[len(name)-1])+3*int(name[len(name)/2]))%len(names)]
	if known := place.Load(); known != nil && *known == string(name) {
		return *known
	}
	made := string(name)
	place.Store(&made)
	return made
}

func (p *Part) shown(values []Value) (shown string) {
	if p.Text != "" {
		return p.Text
	}
	key := p.Key
	for i := 0; i < len(p.Else) && (key >= len(values) || values[key].kind == noValue); i++ {
		key = p.Else[i]
	}
	if key >= len(values) {
		return ""
	}
	switch v := &values[key]; v.kind {
	case noValue:
		return ""
	case textValue:
		shown = v.text
	case intValue:
		shown = strconv.FormatInt(v.number, 10)
	case boolValue:
		shown = strconv.FormatBool(v.number != 0)
	}
	if other, ok := p.Instead[shown]; ok {
		shown = other
	}
	return shown
}
