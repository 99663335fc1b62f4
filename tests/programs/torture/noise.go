package main

import (
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// What makes observing hard, and calls none of the observed functions itself.
var noises = map[string]func(){
	"garbage": garbage, "stacks": stacks, "profile": profile, "procs": procs, "churn": churn,
}

func startNoises(list string) {
	for _, name := range strings.Split(list, ",") {
		if noise, ok := noises[name]; ok {
			go noise()
		} else if name != "" {
			os.Stderr.WriteString("no such noise: " + name + "\n")
			os.Exit(2)
		}
	}
}

// garbage keeps the collector busy: with GOGC=5 it hardly ever rests.
func garbage() {
	var kept [][]byte
	for {
		kept = append(kept, make([]byte, 1<<12))
		if len(kept) > 500 {
			kept = nil
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// stacks walks the stacks of all goroutines, for which the world is stopped.
func stacks() {
	buffer := make([]byte, 1<<20)
	for {
		runtime.Stack(buffer, true)
		time.Sleep(3 * time.Millisecond)
	}
}

// profile interrupts whatever runs by signals and walks its stack, wherever it is.
func profile() {
	for {
		if err := pprof.StartCPUProfile(io.Discard); err != nil {
			panic(err)
		}
		time.Sleep(300 * time.Millisecond)
		pprof.StopCPUProfile()
	}
}

func procs() {
	most := 2 * runtime.NumCPU()
	for n := 1; ; n = n%most + 1 {
		runtime.GOMAXPROCS(n)
		time.Sleep(10 * time.Millisecond)
	}
}

// churn has goroutines born and die, whose stacks and numbers are used again.
func churn() {
	for {
		done := make(chan bool)
		for i := 0; i < 50; i++ {
			go func() { done <- true }()
		}
		for i := 0; i < 50; i++ {
			<-done
		}
		time.Sleep(time.Millisecond)
	}
}
