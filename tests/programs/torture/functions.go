package main

import (
	"errors"
	"sync/atomic"
)

// The functions that are observed: each counts its own calls before it does anything else, so that what an observer
// has seen can be compared with what there was. One of each kind that a hook may meet.

const (
	pairN = iota
	leafN
	textN
	severalN
	genericN
	closureN
	pointerN
	valueN
	growN
	failsN
	failsPanicN
	middleN
	middlePanicN
	survivesN
	spinN
	freshN
	fromCN
	firstsN // the sum of pair's first arguments
	sumsN   // the sum of pair's results
	kinds
)

var names = [kinds]string{
	"main.pair", "main.leaf", "main.text", "main.several", "main.generic[...]", "main.makeClosure.func1", "main.(*thing).pointer",
	"main.thing.value", "main.grow", "main.fails", "main.fails panic", "main.middle", "main.middle panic",
	"main.survives", "main.spin", "main.fresh", "main.fromC", "sum of arguments", "sum of results",
}

// A counter has a cache line of its own.
type counter struct {
	n int64
	_ [56]byte
}

var (
	counters [kinds]counter
	texts    [len(contents)]counter // how often text was called with each of them
)

// count is a call: so each function that counts has a frame, and checks its stack, as most functions do.
//
//go:noinline
func count(what int) { atomic.AddInt64(&counters[what].n, 1) }

func add(what int, n int) { atomic.AddInt64(&counters[what].n, int64(n)) }

// What text is called with: 32 bytes each.
var contents = [...]string{
	"the quick brown fox jumps over a", "lazy dogs sleep on warm rocks al", "0123456789abcdef0123456789abcdef",
	"GET /some/path?with=a&query=text", "                                ", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
	"one string of thirty-two letters", "and the last one of these eight.",
}

var errOdd = errors.New("odd")

//go:noinline
func pair(a, b int) int {
	count(pairN)
	add(firstsN, a)
	add(sumsN, a+b)
	return a + b
}

// leaf has no frame and no check.
//
//go:noinline
func leaf(a, b int) int {
	atomic.AddInt64(&counters[leafN].n, 1)
	return a - b
}

//go:noinline
func text(s string, which int) int {
	count(textN)
	atomic.AddInt64(&texts[which].n, 1)
	return len(s) + which
}

// Several results and several ways out.
//
//go:noinline
func several(n int, s string) (int, string, error) {
	count(severalN)
	if n%2 == 1 {
		return 0, "", errOdd
	}
	if n%3 == 0 {
		return n, s[:len(s)/2], nil
	}
	return len(s), s, nil
}

//go:noinline
func generic[T any](value T, n int) (T, int) {
	count(genericN)
	return value, n + 1
}

//go:noinline
func makeClosure(base int) func(int) int {
	return func(n int) int {
		count(closureN)
		return base + n
	}
}

type thing struct{ n, calls int }

//go:noinline
func (t *thing) pointer(n int) int {
	count(pointerN)
	t.calls++
	return t.n + n
}

//go:noinline
func (t thing) value(n int) int {
	count(valueN)
	return t.n * n
}

type valuer interface{ value(int) int }

// grow makes its goroutine's stack grow: the check at the entry calls the function again.
//
//go:noinline
func grow(depth int, filler [24]uint64) uint64 {
	count(growN)
	if depth == 0 {
		return filler[0]
	}
	filler[depth%24]++
	return grow(depth-1, filler) + filler[depth%24]
}

//go:noinline
func fails(n int) int {
	count(failsN)
	if n%4 == 0 {
		count(failsPanicN)
		panic(n)
	}
	return n * 2
}

// middle stands between the one that panics and the one that recovers.
//
//go:noinline
func middle(n int) int {
	count(middleN)
	if n%4 == 0 {
		count(middlePanicN)
	}
	return fails(n) + 1
}

//go:noinline
func survives(n int) (result int) {
	count(survivesN)
	defer func() {
		if recover() != nil {
			result = -1
		}
	}()
	return middle(n)
}

// spin makes no call while it loops: only a signal can preempt it.
//
//go:noinline
func spin(rounds int) (sum int) {
	count(spinN)
	for i := 0; i < rounds; i++ {
		sum += i ^ sum<<1
	}
	return sum
}

// fresh runs on a goroutine of its own, whose small stack it makes grow.
//
//go:noinline
func fresh(n int) int {
	count(freshN)
	return int(grow(n%40, [24]uint64{})) + pair(n, 1)
}

// mark and finish enclose what is measured: all counting may begin anew at the one, and end at the other.
//
//go:noinline
func mark(n int) int { return leave(n) + 1 }

//go:noinline
func finish(n int) int { return leave(n) + 2 }

//go:noinline
func leave(n int) int { return n }
