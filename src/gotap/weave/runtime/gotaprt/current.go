package gotaprt

import (
	"context"
	"sync/atomic"
	"time"
)

// Local is the goroutine's own value: child goroutines inherit it, and it ends with its goroutine. A woven runtime
// defines the variable with its functions; without them operations are known by their context only.
var Local struct {
	Get func() any
	Set func(any)
	ID  func() uint64 // the number of the goroutine
}

// anyRemote becomes true when the first request with a trace of its own arrives. Until then a program whose sampler
// begins no traces has nothing to record.
var anyRemote atomic.Bool

// current gives what the goroutine has as its span, which may have ended. The functions of Local hold nothing else.
func current() *Span {
	if Local.Get == nil {
		return nil
	}
	s, _ := Local.Get().(*Span)
	return s
}

// Current gives the goroutine's active span, nil if there is none.
func Current() *Span {
	s, _ := current().enclosing()
	return s
}

func goroutineID() uint64 {
	if Local.ID == nil {
		return 0
	}
	return Local.ID()
}

// silences tells whether the goroutine is in an operation that is not sampled.
func (s *Span) silences() bool {
	around, _ := s.enclosing()
	return around != nil && around.record == nil
}

// enclosing gives the active span that a goroutine with this one as its own is in. Where that has ended on the
// goroutine that began it, there is none, but a span to link to: this goroutine was started in it and outlived it.
func (s *Span) enclosing() (parent, link *Span) {
	for s != nil {
		if !s.leaf {
			switch s.state.Load() {
			case active:
				return s, nil
			case ended:
				return nil, s
			}
		}
		s = s.previous.load()
	}
	return nil, nil
}

// enter makes the span the goroutine's, whose own was local.
func (s *Span) enter(local *Span) {
	if Local.Set == nil {
		return
	}
	s.goroutine = goroutineID()
	s.previous.begin(local)
	Local.Set(s)
}

// leave gives the goroutine the span back that it had before this one.
func (s *Span) leave() {
	if Local.Get == nil {
		return
	}
	previous := s.previous.load()
	for previous != nil && previous.state.Load() == strayed {
		previous = previous.previous.load()
	}
	if current() != s || s.goroutine != goroutineID() {
		// Chains of strayed spans are cut short here, or each would keep all before it.
		s.previous.store(previous)
		s.state.Store(strayed)
		return
	}
	if previous == nil {
		Local.Set(nil)
	} else {
		Local.Set(previous)
	}
	// Goroutines that were started under a leaf still have it, to get at what is around it.
	if !s.leaf {
		previous = nil
	}
	for previous != nil && (previous.leaf || previous.state.Load() == strayed) {
		previous = previous.previous.load()
	}
	if s.previous.load() != previous {
		s.previous.store(previous)
	}
}

// spanContext is a Span as the context that carries it: no further allocation.
type spanContext Span

type contextKey struct{}

// FromContext gives the span that ctx carries, ended or not; nil if it carries none.
func FromContext(ctx context.Context) *Span {
	if ctx == nil {
		return nil
	}
	s, ok := ctx.(*spanContext)
	if !ok {
		found, _ := ctx.Value(contextKey{}).(*Span)
		s = (*spanContext)(found)
	}
	if s != nil && s.state.Load() == discarded {
		return FromContext(s.context)
	}
	return (*Span)(s)
}

func (c *spanContext) Deadline() (time.Time, bool) { return c.context.Deadline() }
func (c *spanContext) Done() <-chan struct{}       { return c.context.Done() }
func (c *spanContext) Err() error                  { return c.context.Err() }

func (c *spanContext) Value(key any) any {
	if key == (contextKey{}) {
		return (*Span)(c)
	}
	return c.context.Value(key)
}
