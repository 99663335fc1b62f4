// Calls that end in probe, in many ways. For each line of its input it prints, for each call of probe in order, the
// stack that the runtime itself sees from there: FUNCTION FILE:LINE, innermost first, then an empty line; and at last
// a line "done".
package main

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

// leaf has no frame of its own in which it could save the frame pointer, since it calls nobody.
//
//go:noinline
func leaf(n int) int {
	return n * 3
}

func small(n int) int { return smaller(n) + 1 }

func smaller(n int) int { return probe(n) + 2 }

//go:noinline
func inlined(n int) int { return small(n) * 2 }

//go:noinline
func recursive(n int) int {
	if n == 0 {
		return probe(0)
	}
	return recursive(n-1) + 1
}

//go:noinline
func deferred() (n int) {
	defer func() { n = probe(1) }()
	return leaf(2)
}

//go:noinline
func recovered() (n int) {
	defer func() {
		recover()
		n = probe(2)
	}()
	panic("known")
}

type inner struct{ n int }

//go:noinline
func (i *inner) Method(n int) int { return probe(i.n + n) }

type outer struct{ *inner }

type methodical interface{ Method(n int) int }

//go:noinline
func wrapped(m methodical) int { return m.Method(4) }

//go:noinline
func start(done chan int) {
	probe(5)
	go func(n int) { done <- probe(n) }(6)
}

//go:noinline
func block(c chan int) int {
	probe(7)
	return <-c
}

// large needs more stack than a new goroutine has: it grows in large's prologue.
//
//go:noinline
func large(n int) int {
	var room [1 << 16]byte
	room[n] = byte(n)
	return probe(n) + int(room[n/2])
}

//go:noinline
func growing(n int) int { return large(n) + 1 }

func generic[T any](value T, n int) int { return probe(n) }

func run() {
	inlined(1)
	recursive(20)
	deferred()
	recovered()
	wrapped(outer{&inner{3}})
	generic("text", 8)
	done := make(chan int)
	start(done)
	<-done
	c := make(chan int)
	go func() { done <- block(c) }()
	c <- 1
	<-done
	recursive(200)
	go func() { done <- growing(9) }()
	<-done
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for input.Scan() {
		seen = nil
		run()
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
