//go:build !plan9

package signal

import (
	"os"
	"syscall"
	_ "unsafe" // go:linkname
)

// gotap_watch takes the place of the variable that gotaprt declares without a value: of two definitions the linker takes
// the one that has one (cmd/link/internal/loader, addSym). A program without gotaprt links none.
//
//go:linkname gotap_watch gotaprt.WatchSignals
var gotap_watch = gotap_watch_signals

var (
	gotap_own     chan<- os.Signal
	gotap_deliver func(os.Signal, bool)
)

func gotap_watch_signals(own chan<- os.Signal, deliver func(os.Signal, bool)) {
	handlers.Lock()
	defer handlers.Unlock()
	gotap_own, gotap_deliver = own, deliver
}

// The file's name makes this the last of the package's init functions.
func init() {
	watchSignalLoop = gotap_loop
}

// gotap_loop is loop, and tells gotap of each signal before it is handed on (signal_unix.go, Go 1.21 to 1.27).
func gotap_loop() {
	for {
		received := syscall.Signal(signal_recv())
		gotap_tell(received)
		process(received)
	}
}

func gotap_tell(received os.Signal) {
	n := signum(received)
	if n < 0 {
		return
	}
	handlers.Lock()
	wanted, handled := false, false
	for c, h := range handlers.m {
		if c == gotap_own {
			wanted = h.want(n)
		} else if h.want(n) {
			handled = true
		}
	}
	for _, one := range handlers.stopping {
		handled = handled || one.h.want(n)
	}
	deliver := gotap_deliver
	handlers.Unlock()
	if wanted && deliver != nil {
		deliver(received, handled)
	}
}
