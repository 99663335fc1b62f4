// Orders calls functions as it is told: each line of standard input is an order, carried out on a goroutine of its own,
// and answered by a line when it is done. It leaves when the input ends. Arguments are orders that come first.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

var errOdd = errors.New("odd\x1b[31m")

type point struct{ X, Y int }

//go:noinline
func work(name string, n int) (string, error) {
	if n%2 == 1 {
		return "", fmt.Errorf("work %d: %w", n, errOdd)
	}
	return strings.Repeat(name, n), nil
}

//go:noinline
func shape(p *point, tags map[string]int, any interface{}, ratio float64) []point {
	return []point{*p, {p.Y, p.X}}
}

//go:noinline
func outer(n int) int {
	sum := 0
	for i := 0; i < n; i++ {
		sum += inner(i)
	}
	func() { sum += leaf(sum) }()
	return sum
}

//go:noinline
func inner(n int) int { return leaf(n) + tiny(n) }

//go:noinline
func leaf(n int) int { return n * 2 }

func tiny(n int) int { return n*7 ^ 3 }

//go:noinline
func recurse(n int) int {
	var room [256]byte
	room[n%256] = 1
	if n == 0 {
		return int(room[0])
	}
	return recurse(n-1) + int(room[n%256])
}

//go:noinline
func breaks(why string) { panic(why) }

//go:noinline
func rescued(why string) (answer string) {
	defer func() { answer = fmt.Sprint(recover()) }()
	breaks(why)
	return "unreachable"
}

//go:noinline
func leaves(n int) { runtime.Goexit() }

func carryOut(order string) {
	words := strings.Fields(order)
	number := func(at int) int {
		n, _ := strconv.Atoi(words[at])
		return n
	}
	switch words[0] {
	case "work":
		for i := 0; i < number(2); i++ {
			work(words[1], i)
		}
	case "shape":
		shape(&point{1, 2}, map[string]int{"a": 1}, point{3, 4}, 0.5)
	case "outer":
		outer(number(1))
	case "recurse":
		recurse(number(1))
	case "rescued":
		rescued(words[1])
	case "leaves":
		leaves(number(1))
	case "exec":
		panic(syscall.Exec(words[1], words[1:], os.Environ()))
	case "touch":
		os.WriteFile(words[1], nil, 0o644)
	case "exit":
		os.Exit(number(1))
	}
}

func main() {
	fmt.Println("ready")
	for _, order := range os.Args[1:] {
		carryOut(order)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			carryOut(in.Text())
		}()
		<-done
		fmt.Println("done")
	}
}
