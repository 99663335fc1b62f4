package gotaprt

import (
	"strconv"
	"sync/atomic"
	"time"
	_ "unsafe" // go:linkname
)

// exitFlush is how long the end of the program waits for what is queued, in all.
const exitFlush = time.Second

// exitDeadline is when the end of the program waits no longer, in nanoseconds since 1970; 0 until it has begun.
var exitDeadline atomic.Int64

// gotapExit is what a woven package os calls in os.Exit.
//
//go:linkname gotapExit os.gotapExit
var gotapExit func()

func init() { gotapExit = Exit }

// Exit sends what is queued, at the end of the program. It may be called more than once, by goroutines at the same time
// too: they share one time limit.
func Exit() {
	now := time.Now()
	exitDeadline.CompareAndSwap(0, now.Add(exitFlush).UnixNano())
	if left := time.Duration(exitDeadline.Load() - now.UnixNano()); left > 0 {
		Flush(left)
	}
	if dropped := queue.dropped.Load(); dropped > 0 {
		tell(warn, strconv.FormatInt(dropped, 10)+" spans found the queue full")
	}
}
