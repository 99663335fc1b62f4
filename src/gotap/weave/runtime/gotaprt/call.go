package gotaprt

import "unsafe"

// panicking tells whether a panic leaves the function in whose frame the address lies. A woven package runtime has it
// (aspects/goroutine.yaml); without that it is nil, and functions that panic count as functions that return.
var panicking func(frame uintptr) bool

// EndCall ends the span of a function's call. The function defers it with the addresses of its own variable that holds
// the span, and of its final result if that is an error, else nil. It recovers nothing: a panic goes on with the stack
// that it began with.
func EndCall(span **Span, err *error) {
	s := *span
	switch s {
	case nil:
		return
	case quiet:
		Silence.Leave()
		return
	}
	if panicking != nil && panicking(uintptr(unsafe.Pointer(span))) {
		s.Recovered(nil)
	} else if err != nil {
		s.EndWith(*err)
		return
	}
	s.End()
}
