package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

type point struct {
	name string
	at   []int
	by   map[string]int
	any  interface{}
}

// hot is called a known number of times: by exercise(n) n times.
//
//go:noinline
func hot(n int, name string, p *point) (int, error) {
	if n%10 == 3 {
		return 0, fmt.Errorf("hot %d: %w", n, errThree)
	}
	return len(p.at) + deep(n%7), nil
}

var errThree = errors.New("three")

//go:noinline
func deep(n int) int {
	if n == 0 {
		return 1
	}
	return deep(n-1) + 1
}

// fails ends by a panic, which its caller recovers from.
//
//go:noinline
func fails(n int) int {
	defer func() {}()
	if n >= 0 {
		panic(n)
	}
	return n
}

//go:noinline
func recovers(n int) (result int) {
	defer func() {
		if recover() != nil {
			result = -1
		}
	}()
	return fails(n)
}

// exits ends by runtime.Goexit.
//
//go:noinline
func exits(done *sync.WaitGroup) {
	defer done.Done()
	runtime.Goexit()
}

func exercise(n int) {
	var done sync.WaitGroup
	before := runtime.NumGoroutine()
	for i := 0; i < n; i++ {
		hot(i, "name", &point{"p", []int{1, 2, 3}, map[string]int{"a": i}, i})
		if i%10 == 0 {
			recovers(i)
			done.Add(1)
			go exits(&done)
		}
	}
	done.Wait()
	for runtime.NumGoroutine() > before { // the last of them are still on their way out
		runtime.Gosched()
	}
}
