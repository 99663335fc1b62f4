// Go calls C, which calls Go, which calls C, which calls Go; and a thread of C's does: stacks as in the program `stacks`.
package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
extern void fromC(int n);
static void bridge(int n) { fromC(n); }
static void *body(void *n) { fromC(*(int *)n); return n; }
static void thread(int n) { pthread_t id; pthread_create(&id, 0, body, &n); pthread_join(id, 0); }
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
)

var seen [][]uintptr

//go:noinline
func probe(n int) int {
	pcs := make([]uintptr, 256)
	seen = append(seen, pcs[:runtime.Callers(1, pcs)])
	return n + 1
}

//export fromC
func fromC(n C.int) {
	probe(int(n))
	if n > 0 {
		callC(int(n) - 1)
	}
}

//go:noinline
func callC(n int) {
	C.bridge(C.int(n))
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for input.Scan() {
		seen = nil
		callC(2)
		C.thread(1)
		for _, pcs := range seen {
			frames := runtime.CallersFrames(pcs)
			for {
				frame, more := frames.Next()
				fmt.Printf("%s %s:%d\n", frame.Function, frame.File, frame.Line)
				if !more {
					break
				}
			}
			fmt.Println()
		}
		fmt.Println("done")
	}
}
