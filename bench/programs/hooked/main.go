// hooked is what bench/hooks.py observes. It does as its standard input says and prints one number:
//
//	pair N BURST   calls main.pair N times; after each BURST calls it sleeps for 20 ms, never if BURST is 0;
//	gentle N BURST main.gentle alike, and text N BURST main.text. The number is the thread's CPU time in the calls, ns
//	many N         calls each generated function N times; CPU time alike
//	pulse 1        from now on a thread of real-time priority wakes every 0.2 ms
//	pulse 0        and no longer; the number is the longest time between two of its wakings, ns
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// functions are the generated ones; none in a plain build.
var functions []func(int) int

var seldom int

//go:noinline
func use(n int) int { return n + 1 }

// pair has a frame and a check of the stack, as most functions do.
//
//go:noinline
func pair(a, b int) int { return use(a) + use(b) }

// gentle is the same with a last branch, which the kernel emulates: neither of its uprobes is single-stepped.
//
//go:noinline
func gentle(a, b int) (sum int) {
	sum = use(a) + use(b)
	if sum == 77 {
		seldom++
	}
	return
}

//go:noinline
func text(a, b int, s string) (sum int) {
	sum = use(a) + use(b) + len(s)
	if sum == 77 {
		seldom++
	}
	return
}

// cpu is what the calling thread has run, ns.
func cpu() int64 {
	var now syscall.Timespec
	const threadCPU = 3 // CLOCK_THREAD_CPUTIME_ID
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, threadCPU, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

func calls(what string, count, burst int) (spent int64) {
	if burst == 0 {
		burst = count
	}
	content, total := string([]byte("0123456789abcdef0123456789abcdef")), 0
	for done := 0; done < count; done += burst {
		if done > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		begin := cpu()
		switch what {
		case "pair":
			for i := 0; i < burst; i++ {
				total += pair(i, done)
			}
		case "gentle":
			for i := 0; i < burst; i++ {
				total += gentle(i, done)
			}
		case "text":
			for i := 0; i < burst; i++ {
				total += text(i, done, content)
			}
		case "many":
			for i := 0; i < burst; i++ {
				for _, function := range functions {
					total += function(i)
				}
			}
		}
		spent += cpu() - begin
	}
	if total == 1 {
		fmt.Println(total)
	}
	return spent
}

var (
	pulsing int32
	longest = make(chan int64) // 0 when it begins
)

// pulse is stopped when the process is, and else only by what has a higher priority: nothing.
func pulse() {
	runtime.LockOSThread() // for good: the thread ends with its goroutine
	priority, most := int32(50), int64(0)
	syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&priority))) // SCHED_FIFO
	nap := syscall.Timespec{Nsec: 200_000}
	longest <- 0
	for last := time.Now(); atomic.LoadInt32(&pulsing) != 0; {
		syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&nap)), 0, 0)
		now := time.Now()
		if gap := now.Sub(last).Nanoseconds(); gap > most {
			most = gap
		}
		last = now
	}
	longest <- most
}

func main() {
	runtime.LockOSThread()
	input := bufio.NewScanner(os.Stdin)
	fmt.Println("ready", len(functions))
	for input.Scan() {
		var what string
		var count, burst int
		fmt.Sscan(input.Text(), &what, &count, &burst)
		switch {
		case what != "pulse":
			fmt.Println(calls(what, count, burst))
		case count == 1:
			atomic.StoreInt32(&pulsing, 1)
			go pulse()
			fmt.Println(<-longest)
		default:
			atomic.StoreInt32(&pulsing, 0)
			fmt.Println(<-longest)
		}
	}
}
