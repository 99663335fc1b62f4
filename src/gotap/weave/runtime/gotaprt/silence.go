package gotaprt

import "time"

// Silence is what a woven runtime knows of goroutines in which a trace has begun that is not sampled and that nobody else
// knows of: a mark and no Span. Goroutines inherit it until the call that began the trace ends.
var Silence struct {
	// Enter decides whether a trace that would begin here is sampled, by an id that it makes from the seed.
	Enter func(threshold, seed uint64) (low uint64, entered uint8)
	Leave func()
	In    func() bool
}

// What Silence.Enter gives.
const (
	elsewhere uint8 = iota // the goroutine has a span, which decides
	within                 // in a trace that is not sampled
	taken                  // sampled: low is of the trace's id
	refused                // not sampled: the goroutine is silent until Leave
)

var (
	rootSeed = random()
	// quiet is what BeginCall gives for a trace that is not sampled. It is never any goroutine's current span.
	quiet = &Span{}
)

func silenced() bool { return Silence.In != nil && Silence.In() }

// BeginCall begins an operation that is a function's call, and that EndCall ends on the same goroutine. It knows no
// context: the parent is the goroutine's span.
func BeginCall(name string, attributes ...string) *Span {
	if Silence.Enter != nil && roots && sampling.threshold < always {
		low, entered := Silence.Enter(sampling.threshold, rootSeed)
		switch entered {
		case within:
			return nil
		case refused:
			return quiet
		case taken:
			return beginTrace(low, name, attributes)
		}
	}
	_, s := BeginKind(nil, Internal, name, attributes...)
	return s
}

// beginTrace begins a trace that is sampled on a goroutine that has no span.
func beginTrace(low uint64, name string, attributes []string) *Span {
	r := &record{name: name, kind: Internal, start: time.Since(began)}
	s := &r.Span
	s.record, s.identity = r, traceOf(low, true)
	r.setPairs(attributes)
	s.enter(nil)
	return s
}

// unsampledTrace stands for a trace of which nothing is known but that the sampler does not take it.
func unsampledTrace(s sampler) identity {
	if s.threshold >= always {
		return traceOf(random(), false)
	}
	return traceOf((s.threshold+random()%(always-s.threshold))<<1, false)
}
