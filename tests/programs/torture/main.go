// Torture calls functions of many kinds under everything that makes observing them hard, and knows how often it called
// each. It takes orders on its standard input, a line each, and answers each with a line:
//
//	measure N   no other calls, then mark(), N rounds, finish(); answers with what was called in between, as JSON
//	load N      rounds all the time between the orders, with N µs between two of each worker's if N > 1; load 0: none
//	text N      N calls of text alone; pair N, spin N alike: for what they cost
//	exec        executes itself anew, with the arguments that it has
//	spawn N     starts N children that end at once
//	setuid UID  gives up its rights
//	threads N   N more threads
//
// Built with the tag `callbacks`, which needs cgo, it also has C call Go.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	noise   = flag.String("noise", "garbage,stacks,profile,procs,churn", "what goes on besides")
	workers = flag.Int("workers", 4, "goroutines that make the calls")
)

// round makes some 50 calls of the observed functions.
func round(worker, n int, closure func(int) int, shared *thing, bytes [][]byte) {
	total := 0
	for i := 0; i < 12; i++ {
		total += pair(n, i)
	}
	total += leaf(n, total)
	for i := 0; i < 6; i++ {
		which := (n + i) % len(contents)
		total += text(string(bytes[which]), which) // on the heap, and garbage at once
	}
	for i := 0; i < 3; i++ {
		got, _, _ := several(n+i, contents[i])
		total += got
	}
	whole, _ := generic(n, n)
	letters, _ := generic(contents[n%len(contents)], n)
	pointer, _ := generic(shared, n)
	total += whole + len(letters) + closure(n) + pointer.pointer(n) + shared.value(n) + valuer(shared).value(n)
	total += int(grow(n%20, [24]uint64{})) + survives(n)
	if n%8 == 0 {
		done := make(chan int)
		go func() { done <- fresh(n) }() // it has returned when the round goes on
		total += <-done
	}
	if n%512 == 0 {
		total += spin(1_000_000)
	}
	if n%16 == 0 {
		total += callbacks(n)
	}
	if total == -1 {
		fmt.Println(worker, total)
	}
}

// rounds makes `wanted` rounds, or as many as it can until it is stopped.
func rounds(wanted int64, pause time.Duration, stop <-chan bool) {
	var next int64
	var all sync.WaitGroup
	for worker := 0; worker < *workers; worker++ {
		all.Add(1)
		go func(worker int) {
			defer all.Done()
			shared, closure := &thing{n: worker}, makeClosure(worker)
			var bytes [][]byte
			for _, one := range contents {
				bytes = append(bytes, []byte(one))
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := atomic.AddInt64(&next, 1)
				if n > wanted {
					return
				}
				round(worker, int(n), closure, shared, bytes)
				if pause > time.Microsecond {
					time.Sleep(pause)
				}
			}
		}(worker)
	}
	all.Wait()
}

func called() map[string]int64 {
	told := map[string]int64{}
	for i, name := range names {
		told[name] = atomic.LoadInt64(&counters[i].n)
	}
	for i, content := range contents {
		told["text "+content] = atomic.LoadInt64(&texts[i].n)
	}
	return told
}

// A load runs rounds in the background.
type load struct {
	pause time.Duration
	stop  chan bool
	done  chan bool
}

func (l *load) start() {
	l.stop, l.done = make(chan bool), make(chan bool)
	go func(stop <-chan bool, done chan<- bool) {
		rounds(1<<62, l.pause, stop)
		close(done)
	}(l.stop, l.done)
}

func (l *load) end() {
	if l.stop != nil {
		close(l.stop)
		<-l.done
		l.stop = nil
	}
}

func measure(n int64, background *load) map[string]int64 {
	loaded := background.stop != nil
	background.end()
	before := called()
	mark(1)
	rounds(n, 0, nil)
	finish(1)
	after := called()
	if loaded {
		background.start()
	}
	for name := range after {
		after[name] -= before[name]
	}
	return after
}

func obey(order string, n int, background *load) any {
	switch order {
	case "measure":
		return measure(int64(n), background)
	case "load":
		background.end()
		if background.pause = time.Duration(n) * time.Microsecond; n != 0 {
			background.start()
		}
	case "pair", "text", "spin":
		return alone(order, n)
	case "exec":
		fmt.Println(`"execs"`)
		panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	case "spawn":
		for i := 0; i < n; i++ {
			if err := exec.Command("/proc/self/exe", "-noise=", "-once").Run(); err != nil {
				return err.Error()
			}
		}
	case "setuid":
		if err := syscall.Setuid(n); err != nil {
			return err.Error()
		}
	case "threads":
		for i := 0; i < n; i++ {
			go func() {
				runtime.LockOSThread()
				select {}
			}()
		}
	default:
		return "what is " + order + "?"
	}
	return "done"
}

// alone makes n calls of one function; answers with the nanoseconds of wall clock that they took.
func alone(order string, n int) int64 {
	total, content, begin := 0, string([]byte(contents[2])), time.Now()
	for i := 0; i < n; i++ {
		switch order {
		case "pair":
			total += pair(i, i)
		case "text":
			total += text(content, 2)
		case "spin":
			total += spin(1000)
		}
	}
	if total == -1 {
		fmt.Println(total)
	}
	return time.Since(begin).Nanoseconds()
}

func main() {
	once := flag.Bool("once", false, "make one round and end")
	flag.Parse()
	startNoises(*noise)
	if *once {
		rounds(1, 0, nil)
		return
	}
	fmt.Println("ready")
	answers := json.NewEncoder(os.Stdout)
	background := &load{}
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		words := append(strings.Fields(input.Text()), "0")
		n, err := strconv.Atoi(words[1])
		if err != nil {
			n = 0
		}
		answers.Encode(obey(words[0], n, background))
	}
}
