// Calls functions of many shapes from many goroutines, counts the calls itself, and prints checksum and counts; then the
// words of memory at the address in its first argument, as many as its second says: what somebody else has counted there.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

var leafs, frames, deeps, panics, closures, squares, circles, floats, switches int64

//go:noinline
func leaf(a, b int) int {
	atomic.AddInt64(&leafs, 1)
	return a*31 ^ b
}

//go:noinline
func framed(text string, n int) (string, int) {
	atomic.AddInt64(&frames, 1)
	if n%7 == 0 {
		return text, leaf(n, len(text))
	}
	return text[n%len(text):] + strconv.Itoa(n), n
}

//go:noinline
func deep(n int) int {
	atomic.AddInt64(&deeps, 1)
	var pad [64]int
	pad[n%64] = n
	if n == 0 {
		return pad[0]
	}
	return deep(n-1) + pad[n%64]
}

//go:noinline
func huge(n int) int {
	var pad [20000]int
	for i := range pad {
		pad[i] = n ^ i
	}
	return pad[n%len(pad)]
}

//go:noinline
func mayPanic(n int) (result int) {
	atomic.AddInt64(&panics, 1)
	defer func() {
		if r := recover(); r != nil {
			result = -n
		}
	}()
	if n%3 == 0 {
		var p *int
		return *p
	}
	if n%5 == 0 {
		panic("five")
	}
	return n
}

type shape interface{ area(scale int) (int, error) }
type square struct{ side int }
type circle struct{ radius float64 }

//go:noinline
func (s square) area(scale int) (int, error) {
	atomic.AddInt64(&squares, 1)
	if s.side%4 == 0 {
		return 0, fmt.Errorf("side %d", s.side)
	}
	return s.side * s.side * scale, nil
}

//go:noinline
func (c *circle) area(scale int) (int, error) {
	atomic.AddInt64(&circles, 1)
	return int(3.14159265 * c.radius * c.radius * float64(scale)), nil
}

//go:noinline
func mixed(a float64, b int, c float32, d string, e []byte) (float64, int) {
	atomic.AddInt64(&floats, 1)
	if a > 1000.25 {
		return a / 3.5, b - len(d)
	}
	return a*1.5 + float64(c), b + len(e)
}

//go:noinline
func cases(n int) string {
	atomic.AddInt64(&switches, 1)
	switch n % 11 {
	case 0:
		return "zero"
	case 1:
		return "one"
	case 2:
		return "two"
	case 3:
		return "three"
	case 4:
		return "four"
	case 5:
		return "five"
	case 6:
		return "six"
	case 7:
		return "seven"
	case 8:
		return "eight"
	}
	return strings.Repeat("many", n%3)
}

//go:noinline
func adder(n int) func(int) int {
	return func(m int) int {
		atomic.AddInt64(&closures, 1)
		n += m
		return n
	}
}

func work(seed int) int {
	sum := 0
	add := adder(seed)
	for i := 1; i < 60; i++ {
		text, n := framed("some text of a test", seed+i)
		sum += leaf(n, i) + len(text) + add(i) + mayPanic(i) + len(cases(seed+i))
		f, k := mixed(float64(seed*i), i, float32(i), text, []byte(text))
		sum += int(f) + k
		for _, one := range []shape{square{i}, &circle{float64(i)}} {
			area, err := one.area(seed)
			if err != nil {
				area = len(err.Error())
			}
			sum += area
		}
	}
	sum += deep(300+seed%50) + huge(seed)
	keys := strings.Fields("one or another word to be sorted")
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	return sum + len(strings.Join(keys, ","))
}

func main() {
	var group sync.WaitGroup
	var sum, rounds int64
	debug.SetGCPercent(5)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		panic(err)
	}
	stop := make(chan bool)
	go func() { // stops the world, and so preempts whoever runs
		stacks := make([]byte, 1<<16)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
				runtime.Stack(stacks, true)
				runtime.GOMAXPROCS(1 + n%4)
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for n := 0; n < 40; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			atomic.AddInt64(&sum, int64(work(n)))
			atomic.AddInt64(&rounds, 1)
		}(n)
	}
	group.Wait()
	close(stop)
	pprof.StopCPUProfile()
	fmt.Println("sum", sum)
	fmt.Println("main.leaf", leafs, "main.framed", frames, "main.deep", deeps, "main.mayPanic", panics,
		"main.adder.func1", closures, "main.square.area", squares, "main.(*circle).area", circles,
		"main.mixed", floats, "main.cases", switches, "main.work", rounds, "main.huge", rounds)
	if len(os.Args) > 2 {
		address, _ := strconv.ParseUint(os.Args[1], 0, 64)
		count, _ := strconv.Atoi(os.Args[2])
		for i := 0; i < count; i++ {
			word := (*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&address)))
			fmt.Print(atomic.LoadUint64(word), " ")
			address += 8
		}
		fmt.Println()
	}
}
