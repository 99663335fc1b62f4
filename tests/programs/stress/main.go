// Calls whose number is known, under what makes counting hard: recursion on stacks that grow, panics that are recovered
// above or not at all, runtime.Goexit, goroutines that move between threads, inlined copies, garbage collections that
// never stop. Waits for a line on stdin, then makes about as many calls as the argument says, and prints how many of
// each kind there were, as JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

var (
	counts = map[string]*int64{}
	names  = []string{
		"main.recurse", "main.grow", "main.fails", "main.fails panic", "main.survives", "main.leaves",
		"main.leaves goexit", "main.passes", "main.passes panic", "main.twice", "main.hop", "main.answer",
		"main.middle", "main.middle panic", "main.panicking", "main.panicking panic",
	}
)

func count(name string) { atomic.AddInt64(counts[name], 1) }

//go:noinline
func recurse(depth int) int {
	count("main.recurse")
	if depth == 0 {
		return 1
	}
	return recurse(depth-1) + 1
}

//go:noinline
func grow(depth int, filler [64]uint64) uint64 {
	count("main.grow")
	if depth == 0 {
		return filler[0]
	}
	filler[depth%64]++
	return grow(depth-1, filler) + filler[depth%64]
}

//go:noinline
func fails(number int) int {
	count("main.fails")
	if number%3 == 0 {
		count("main.fails panic")
		panic(fmt.Sprint("number ", number))
	}
	return number * 2
}

// Between the one that panics and the one that recovers.
//
//go:noinline
func middle(number int) int {
	count("main.middle")
	if number%3 == 0 {
		count("main.middle panic")
	}
	return fails(number) + 1
}

// Recovers: it returns, whatever its callees did.
//
//go:noinline
func survives(number int) (result int) {
	count("main.survives")
	defer func() {
		if recover() != nil {
			result = -1
		}
	}()
	return middle(number)
}

// Panics again from a deferred function.
//
//go:noinline
func passes(number int) {
	count("main.passes")
	count("main.passes panic")
	defer func() {
		recover()
		panic("another one")
	}()
	panicking(number)
}

//go:noinline
func panicking(number int) {
	count("main.panicking")
	count("main.panicking panic")
	panic(number)
}

//go:noinline
func leaves(depth int) {
	count("main.leaves")
	count("main.leaves goexit")
	if depth == 0 {
		runtime.Goexit()
	}
	leaves(depth - 1)
}

func twice(number int) int { // inlined wherever it is called, with a loop of its own
	total := 1
	for i := 0; i < number%4; i++ {
		total += total * number
	}
	return total
}

//go:noinline
func answer(number int) int {
	count("main.answer")
	count("main.twice")
	sum := twice(number)
	for i := 0; i < 2; i++ { // in a loop of the caller's
		count("main.twice")
		sum += twice(sum + i)
	}
	return sum
}

//go:noinline
func hop(channel chan int, number int) int {
	count("main.hop")
	runtime.Gosched()
	channel <- number
	return <-channel
}

func round(number int) {
	recurse(number % 50)
	survives(number)
	answer(number)
	if number%100 == 0 {
		var group sync.WaitGroup
		group.Add(3)
		go func() { // on a fresh, small stack
			defer group.Done()
			grow(100, [64]uint64{})
		}()
		go func() {
			defer group.Done()
			leaves(number % 5)
		}()
		channel := make(chan int)
		go func() {
			defer group.Done()
			channel <- 1 + <-channel
		}()
		hop(channel, number)
		group.Wait()
		func() {
			defer func() { recover() }()
			passes(number)
		}()
	}
}

func main() {
	for _, name := range names {
		counts[name] = new(int64)
	}
	wanted, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan bool)
	go func() { // garbage, and its collection, all the time
		var kept [][]byte
		for {
			select {
			case <-stop:
				return
			default:
				kept = append(kept, make([]byte, 1<<12))
				if len(kept) > 1000 {
					kept = nil
				}
				runtime.Gosched()
			}
		}
	}()
	var workers sync.WaitGroup
	for worker := 0; worker < 4; worker++ {
		workers.Add(1)
		go func(worker int64) {
			defer workers.Done()
			for number := 0; atomic.LoadInt64(counts["main.recurse"]) < wanted*8/10; number++ {
				round(number)
			}
		}(int64(worker))
	}
	workers.Wait()
	close(stop)
	told := map[string]int64{}
	for name, number := range counts {
		told[name] = *number
	}
	json.NewEncoder(os.Stdout).Encode(told)
}
