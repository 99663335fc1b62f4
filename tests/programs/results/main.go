// Functions that write what their results lead to at the very end, behind where the results themselves are known.
// Calls each with every number up to the argument, when a line comes on stdin.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
)

type record struct {
	X, Y int
	S    string
}

type failure struct{ Code int }

func (f *failure) Error() string { return "failed" }

//go:noinline
func set(p *record, n int) *record {
	if n < 0 {
		return nil
	}
	p.X = n
	p.Y = n * 2
	p.S = "done"
	return p
}

//go:noinline
func pair(n int) [2]int {
	if n == 0 {
		return [2]int{-1, -1}
	}
	return [2]int{n, n + 1}
}

//go:noinline
func fill(b []int, n int) []int {
	if len(b) < 2 {
		return b
	}
	b[0] = n
	b[1] = -n
	return b
}

//go:noinline
func fail(f *failure, n int) error {
	if n < 0 {
		return nil
	}
	f.Code = n
	return f
}

//go:noinline
func change(p *record, n int) {
	if n < 0 {
		return
	}
	p.X = n + 1000
}

func main() {
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		os.Exit(1)
	}
	p, b, f := &record{}, make([]int, 3), &failure{}
	for n := 0; n < count; n++ {
		*p, b[0], b[1], f.Code = record{S: "old"}, 0, 0, -1
		set(p, n)
		pair(n)
		fill(b, n)
		fail(f, n)
		change(p, n)
	}
}
