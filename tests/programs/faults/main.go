// Faults does what only works if machine code stands where Go believes that it stands: panics of the machine's faults, of
// checks and of its own, which are recovered, unwound through frames of many kinds, and told with their callers; switches
// by tables; stacks that grow; closures, interfaces, deferred calls in loops. It prints what came of it, which is the
// same each time.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
)

type node struct {
	next  *node
	value int
	text  string
	table [4]int
}

type shape interface {
	area(scale int) int
}

type square struct{ side int }

func (s *square) area(scale int) int { return s.side * s.side * scale }

//go:noinline
func field(n *node) int { return n.value }

//go:noinline
func store(n *node, value int) { n.value = value }

//go:noinline
func deep(n *node) int {
	total := 0
	for ; total < 100; n = n.next {
		total += n.value
	}
	return total
}

//go:noinline
func element(n *node, i int) int { return n.table[i] }

//go:noinline
func index(values []int, i int) int { return values[i] + 1 }

//go:noinline
func cut(text string, from, to int) string { return text[from:to] }

//go:noinline
func divide(a, b int) int { return a / b }

//go:noinline
func dynamic(s shape, scale int) int { return s.area(scale) }

//go:noinline
func indirect(f func(int) int, x int) int { return f(x) + 1 }

//go:noinline
func convert(x interface{}) string { return x.(string) }

//go:noinline
func copies(to *[40]node, from *[40]node) { *to = *from }

//go:noinline
func table(n int) string {
	switch n {
	case 0:
		return "zero"
	case 1:
		return "one"
	case 2:
		return "two"
	case 3:
		return "three"
	case 4:
		return "four" + fmt.Sprint(n)
	case 5:
		return "five"
	case 6:
		return "six"
	case 7:
		return "seven"
	case 8:
		return "eight"
	case 9:
		return "nine"
	case 10:
		return "ten"
	}
	return "many"
}

//go:noinline
func words(name string) int {
	switch name {
	case "alpha", "beta":
		return 1
	case "gamma":
		return 2
	case "delta":
		return 3
	case "epsilon":
		return 4
	case "zeta":
		return 5
	case "eta", "theta":
		return 6
	case "iota":
		return 7
	case "kappa":
		return 8
	case "lambda":
		return 9
	}
	return 0
}

//go:noinline
func grow(n int, pad [16]uint64) uint64 {
	if n == 0 {
		return pad[0]
	}
	pad[n%16] += uint64(n)
	return grow(n-1, pad) + pad[n%16]
}

// callers names the functions of the stack down to the one that `try` was called from.
func callers() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var names []string
	for {
		frame, more := frames.Next()
		names = append(names, strings.TrimPrefix(frame.Function, "main.")+fmt.Sprint(":", frame.Line))
		if !more || frame.Function == "main.try" {
			return strings.Join(names, " < ")
		}
	}
}

func try(name string, f func()) {
	told := "nothing"
	defer func() { fmt.Printf("%s: %s\n", name, told) }()
	defer func() {
		if reason := recover(); reason != nil {
			told = fmt.Sprint(reason, " in ", callers())
		}
	}()
	f()
}

func loops() (order string) {
	for i := 0; i < 5; i++ {
		i := i
		defer func() { order += fmt.Sprint(i) }()
	}
	for i := 0; i < 3; i++ {
		func() {
			defer func() {
				if recover() != nil {
					order += "r"
				}
			}()
			defer func() { order += "d" }()
			if i%2 == 0 {
				panic(i)
			}
		}()
	}
	return "loops "
}

func named() (result int, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			result, err = -1, fmt.Errorf("recovered: %v", reason)
		}
	}()
	return field(nil), nil
}

func again() (told string) {
	defer func() { told = fmt.Sprint(recover(), " in ", callers()) }()
	defer func() {
		panic(fmt.Sprint("second after ", recover()))
	}()
	panic(errors.New("first"))
}

func goexit() (told string) {
	done := make(chan string, 1)
	go func() {
		defer func() { done <- "left" }()
		runtime.Goexit()
	}()
	return <-done
}

func once() {
	var nothing *node
	var none shape
	var square *square
	var function func(int) int
	values := []int{1, 2, 3}
	try("field", func() { fmt.Println(field(nothing)) })
	try("store", func() { store(nothing, 1) })
	try("deep", func() { fmt.Println(deep(&node{value: 1, next: &node{value: 2}})) })
	try("element", func() { fmt.Println(element(nothing, 2)) })
	try("element out", func() { fmt.Println(element(&node{}, len(os.Args)+6)) })
	try("index", func() { fmt.Println(index(values, 3)) })
	try("index fits", func() { fmt.Println(index(values, 2)) })
	try("cut", func() { fmt.Println(cut("short", 3, 9)) })
	try("divide", func() { fmt.Println(divide(1, len(os.Args)-1)) })
	try("dynamic", func() { fmt.Println(dynamic(none, 2)) })
	try("dynamic nil", func() { fmt.Println(dynamic(square, 2)) })
	try("indirect", func() { fmt.Println(indirect(function, 2)) })
	try("convert", func() { fmt.Println(convert(7)) })
	try("copies", func() { copies(nil, new([40]node)) })
	try("closed", func() { var c chan int; close(c) })
	for n := -1; n < 13; n++ {
		fmt.Print(table(n), " ")
	}
	for _, name := range strings.Fields("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu") {
		fmt.Print(words(name), " ")
	}
	fmt.Println(grow(3000, [16]uint64{1, 2, 3}), loops(), goexit(), again())
	fmt.Println(named())
	fmt.Println(indirect((func(x int) int { return x * len(values) }), 5), dynamic(&squareOf, 3))
}

var squareOf = square{side: 3}

func main() {
	once()
	var all sync.WaitGroup
	results := make([]string, 50)
	for i := range results {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for n := 0; n < 50; n++ {
				_, err := named()
				results[i] = fmt.Sprint(err, grow(i*10, [16]uint64{}), again())
			}
			runtime.GC()
		}(i)
	}
	all.Wait()
	sort.Strings(results)
	fmt.Println(strings.Join(results, "\n"))
}
