// Functions of every kind that a pattern may match: methods, wrappers, closures, instances of generic ones, assembly,
// and inlined calls whose number is known. The argument is how often each is called.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	odd "example.com/functions/odd.v2"
)

type area interface{ Area(factor int) int }

type base struct{ name string }

//go:noinline
func (b *base) Name(prefix string) string { return prefix + b.name }

type derived struct {
	base
	odd.Shape
	weight float64
}

type number interface{ ~int | ~float64 | ~int32 }

//go:noinline
func Map[T, U any](values []T, f func(T) U) []U {
	mapped := make([]U, 0, len(values))
	for _, value := range values {
		mapped = append(mapped, f(value))
	}
	return mapped
}

//go:noinline
func Sum[T number](values ...T) (total T) {
	for _, value := range values {
		total += value
	}
	return total
}

type List[T any] struct {
	items []T
	next  *List[T]
}

//go:noinline
func (l *List[T]) Push(item T, times int) int {
	for i := 0; i < times; i++ {
		l.items = append(l.items, item)
	}
	return len(l.items)
}

//go:noinline
func (l List[T]) Len() int { return len(l.items) }

//go:noinline
func unnamed(int, string, bool) (string, error) {
	if Total&1 == 0 {
		return "", errors.New("unnamed")
	}
	return "yes", nil
}

//go:noinline
func blank(_ int, text string, _ bool) (_ int, length int) { return 1, len(text) }

//go:noinline
func (*base) receiverless(_ int) {}

//go:noinline
func named(a int8, b uint16, c float32, d string, e []byte, f [2]int, g struct{ x, y int }) (n int, s string, err error) {
	n = int(a) + int(b) + int(c) + len(d) + len(e) + f[0] + g.x
	return n, d, nil
}

//go:noinline
func escapes(count int, keep func(*int)) int {
	kept := count + 1
	keep(&kept)
	text := strconv.Itoa(kept)
	if kept > 3 {
		inner := text + "!"
		fmt.Fprint(discard{}, inner, kept)
	}
	return kept + len(text)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// inlined is inlined wherever it is called, and has a body of its own by its address.
func inlined(a, b int) int {
	if a > b {
		return a - b
	}
	return b - a
}

// looped has a loop of its own, and is inlined from Go 1.16 on.
func looped(values []int) (total int) {
	for _, value := range values {
		total += value
	}
	return total
}

// nested is inlined with what it calls.
func nested(a int) int { return inlined(a, 3) * 2 }

//go:noinline
func caller(n int, values []int) (total int) {
	total = inlined(n, 7)
	for i := 0; i < n; i++ {
		total += inlined(i, total)
		total += looped(values)
	}
	if total&1 == 0 {
		total += nested(total)
	}
	return total
}

//go:noinline
func counter(start int, step *int) func(int) int {
	total := start
	return func(more int) int {
		total += more + *step
		return total
	}
}

//go:noinline
func deferred(n int, d derived) (result int) {
	defer func() { result += n }()
	defer fmt.Fprintln(discard{}, n, d.Sides)
	return n * 2
}

//go:noinline
func spawned(done chan<- int, n int) { done <- n }

//go:noinline
func lines(n int) string {
	label := "small" // line: label
	if n > 10 {
		label = "large"
	}
	limit := n * 2 // line: limit
	for i := 0; i < limit; i++ {
		if i%7 == 3 {
			label += strconv.Itoa(i) // line: seventh
		}
	}
	return label
}

var (
	Total   int
	Message = "start"
	method  func(*odd.Shape, int)
	pick    = inlined
)

func once(i int) {
	d := derived{base: base{name: strconv.Itoa(i)}, Shape: odd.Shape{Sides: i}, weight: 1.5}
	var shape area = &d
	grow := d.Grow
	grow(shape.Area(2))
	method = (*odd.Shape).Grow
	method(&d.Shape, 1)
	texts := Map([]int{i, 2, 3}, strconv.Itoa)
	numbers := Map(texts, func(text string) float64 { return float64(len(text)) })
	ids := Map([]int32{1}, func(id int32) int { return int(id) + i })
	list := &List[string]{}
	list.Push(d.Name("n"), 2)
	(&List[*base]{}).Push(&d.base, i%3)
	Total += list.Len() + len(numbers) + Sum(1, 2, i) + int(Sum(1.5, float64(i))) + int(Sum[int32](1)) + ids[0]
	_, err := unnamed(i, Message, i%2 == 0)
	if _, length := blank(i, Message, true); err != nil && length > 0 {
		d.receiverless(i)
	}
	n, _, _ := named(1, 2, 3, "four", []byte("five"), [2]int{6, 7}, struct{ x, y int }{8, 9})
	step := 3
	count := counter(i, &step)
	Total += n + add(n, 1) + caller(i%5, []int{1, 2, i}) + count(1) + odd.Count(1, i) + pick(i, 2)
	Total += escapes(i, func(p *int) { *p++ }) + deferred(i, d) + len(lines(i))
	done := make(chan int, 1)
	go spawned(done, i)
	Total += <-done
}

func main() {
	times, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	if len(os.Args) > 2 { // probes are put in place meanwhile
		fmt.Println("ready")
		fmt.Scanln()
	}
	begin := time.Now()
	for i := 0; i < times; i++ {
		once(i)
	}
	fmt.Println("total", Total, Message, time.Since(begin) > 0)
}
