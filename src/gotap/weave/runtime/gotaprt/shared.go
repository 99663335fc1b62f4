package gotaprt

import (
	"sync/atomic"
	"unsafe"
)

// shared is a pointer that some goroutines read while another one changes it. As long as nobody else knows the struct that
// it lies in, it is set at the cost of any field.
type shared[T any] struct{ at unsafe.Pointer }

func (s *shared[T]) load() *T { return (*T)(atomic.LoadPointer(&s.at)) }

func (s *shared[T]) store(to *T) { atomic.StorePointer(&s.at, unsafe.Pointer(to)) }

// begin is the first store.
func (s *shared[T]) begin(to *T) { s.at = unsafe.Pointer(to) }
