// Many goroutines that live all the time and call a function now and then: more than a tracer has entries for.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
)

const many = 80000

var sink int

//go:noinline
func work(a, b int) int {
	sink += a
	return helper(a, b) + 1
}

//go:noinline
func helper(a, b int) int { return a ^ b }

// Each line on standard input makes every goroutine call work once, one after the other.
func main() {
	var done sync.WaitGroup
	gates := make([]chan int, many)
	for i := range gates {
		gates[i] = make(chan int)
		go func(i int) {
			for range gates[i] {
				work(1, i)
				done.Done()
			}
		}(i)
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		done.Add(many)
		for _, gate := range gates {
			gate <- 0
		}
		done.Wait()
		fmt.Println(many)
	}
}
