// tracee is what bench/trace.py traces: it does as its standard input says and prints how many nanoseconds it took.
//
//	hot N      calls main.hot N times
//	tick N     calls main.hot every millisecond, N times, from now on
//	many N     calls all generated functions N times
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

// functions are the generated ones; none in a plain build.
var functions []func(int) int

//go:noinline
func use(n int) int { return n + 1 }

// hot has a frame, so that its prologue pushes a register, as most functions do.
//
//go:noinline
func hot(n int) int {
	return use(n) + use(n+1)
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	fmt.Println("ready", len(functions))
	total := 0
	for input.Scan() {
		var what string
		var count int
		fmt.Sscan(input.Text(), &what, &count)
		begin := time.Now()
		switch what {
		case "hot":
			for i := 0; i < count; i++ {
				total += hot(i)
			}
		case "tick":
			go func() {
				for i := 0; i < count; i++ {
					time.Sleep(time.Millisecond)
					hot(i)
				}
			}()
		case "many":
			for i := 0; i < count; i++ {
				for _, function := range functions {
					total += function(i)
				}
			}
		}
		fmt.Println(time.Since(begin).Nanoseconds())
	}
	if total == 1 {
		fmt.Println(total)
	}
}
