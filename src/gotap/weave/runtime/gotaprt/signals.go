package gotaprt

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// signalFlush is how long a signal that ends the program waits for what is queued.
const signalFlush = time.Second

// WatchSignals is set where os/signal is woven. It makes os/signal call deliver whenever it hands on a signal that own
// is to be notified of; handled tells whether somebody else is notified of it too. deliver is called on the goroutine
// that hands signals on and must not wait. Where it is nil, signals do what they did.
var WatchSignals func(own chan<- os.Signal, deliver func(received os.Signal, handled bool))

var (
	// caught is never read: what counts is that the runtime hands the signals on instead of dying by them.
	caught = make(chan os.Signal, 1)
	dying  atomic.Bool
)

// watchSignals catches SIGTERM and SIGINT once there is something to flush. A signal that is ignored stays so, since a
// program that is started with SIGINT ignored would otherwise die by it.
func watchSignals() {
	if WatchSignals == nil {
		return
	}
	WatchSignals(caught, deliver)
	for _, one := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		if !signal.Ignored(one) {
			signal.Notify(caught, one)
		}
	}
}

// deliver flushes. If the program does not handle the signal it then dies as it would have, and by a second one at once.
func deliver(received os.Signal, handled bool) {
	if handled {
		go Flush(signalFlush)
		return
	}
	second := dying.Swap(true)
	go func() {
		if !second {
			Flush(signalFlush)
		}
		signal.Stop(caught)
		die(received)
	}()
}
