//go:build unix

package gotaprt

import (
	"os"
	"os/signal"
	"syscall"
)

// die sends the process the signal again, now that nobody is notified of it.
func die(received os.Signal) {
	number, ok := received.(syscall.Signal)
	if !ok {
		number = syscall.SIGTERM
	}
	signal.Reset(number)
	syscall.Kill(syscall.Getpid(), number)
}
