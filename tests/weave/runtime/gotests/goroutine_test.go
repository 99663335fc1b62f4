package gotaprt

import (
	"bytes"
	"runtime"
	"strconv"
	"unsafe"
)

// What a woven runtime offers, in its place: the label that the profiler keeps for each goroutine, which children inherit
// too. It holds a pointer and is handed on without being looked at as long as nobody profiles.

//go:linkname goroutineLabel runtime/pprof.runtime_getProfLabel
func goroutineLabel() unsafe.Pointer

//go:linkname setGoroutineLabel runtime/pprof.runtime_setProfLabel
func setGoroutineLabel(unsafe.Pointer)

func withLocal(use func()) {
	Local.Get = func() any {
		if label := goroutineLabel(); label != nil {
			return (*Span)(label)
		}
		return nil
	}
	Local.Set = func(value any) {
		s, _ := value.(*Span)
		setGoroutineLabel(unsafe.Pointer(s))
	}
	Local.ID = numberInStack
	defer func() {
		setGoroutineLabel(nil)
		Local.Get, Local.Set, Local.ID = nil, nil, nil
	}()
	use()
}

// numberInStack reads a goroutine's number where traces of stacks show it.
func numberInStack() uint64 {
	var room [64]byte
	text := bytes.TrimPrefix(room[:runtime.Stack(room[:], false)], []byte("goroutine "))
	number, err := strconv.ParseUint(string(text[:bytes.IndexByte(text, ' ')]), 10, 64)
	if err != nil {
		panic(err)
	}
	return number
}

// with runs a test under other settings, and gives the spans that it finished.
func with(s sampler, use func()) []*record {
	beforeSampling, beforeRoots, beforeExports := sampling, roots, exports
	defer func() {
		sampling, roots, exports = beforeSampling, beforeRoots, beforeExports
		anyRemote.Store(false)
	}()
	sampling, roots, exports = s, s.threshold > 0, true
	queue.newest.Store(nil)
	queue.count.Store(0)
	queue.limit, queue.batch = 1000, 1<<40
	use()
	return queue.take(nil)
}

func byName(records []*record) map[string]*record {
	found := map[string]*record{}
	for _, one := range records {
		found[one.name] = one
	}
	return found
}
