// A small program with one of everything that a function table has to tell apart.
package main

import (
	"fmt"
	"os"
)

type shape interface{ area() int }

type square struct{ side int }

// A value receiver: the compiler also makes (*square).area.
//
//go:noinline
func (s square) area() int { return s.side * s.side }

// A generic function and a generic type: several functions of one name.
//
//go:noinline
func apply[T, U any](values []T, f func(T) U) []U {
	var results []U
	for _, value := range values {
		results = append(results, f(value))
	}
	return results
}

type stack[T any] struct{ items []T }

//go:noinline
func (s *stack[T]) push(item T) { s.items = append(s.items, item) }

// Two levels of inlining: scaled into its callers, doubled into scaled.
func doubled(n int) int { return n<<1 ^ len(os.Args) }

func scaled(n int) int { return doubled(n+3) * doubled(n) }

// Inlined into compute and called out of line as a value.
func offset(n int) int { return n*7 + len(os.Args) }

//go:noinline
func compute(n int) int {
	total := scaled(n)
	if n > 3 {
		total -= offset(n)
	}
	return total + scaled(total)
}

// A closure, and a closure in it.
func counter(step int) func() func() int {
	count := 0
	return func() func() int {
		count += step
		return func() int { count++; return count }
	}
}

// Grows the stack.
//
//go:noinline
func descend(depth int) int {
	var room [512]byte
	if depth == 0 {
		return int(room[len(os.Args)])
	}
	room[depth%512] = byte(depth)
	return descend(depth-1) + int(room[depth%512])
}

func main() {
	var s shape = square{len(os.Args) + 1}
	lengths := apply([]string{"a", "bc"}, func(text string) int { return len(text) })
	texts := apply([]int{1, 2}, func(n int) string { return fmt.Sprint(n) })
	numbers, names := &stack[int]{}, &stack[string]{}
	numbers.push(offset(1))
	names.push(texts[0])
	chosen := []func(int) int{offset, compute}[len(os.Args)%2]
	fmt.Println(s.area(), lengths, texts, numbers.items, names.items, chosen(5), counter(2)()(), descend(100))
}
