package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// weigh takes as long as its argument says: functions by latency.
//
//go:noinline
func weigh(tea string, duration time.Duration) int {
	time.Sleep(duration)
	return len(tea)
}

func weighing(string) error {
	weigh("green", 0)
	weigh("green", 0)
	weigh("black", 20*time.Millisecond)
	return nil
}

//go:noinline
func walkTo(depth int) int {
	if depth == 0 {
		return walkEnd()
	}
	return walkTo(depth-1) + 1
}

//go:noinline
func walkEnd() int {
	if ends++; ends%2 == 0 {
		panic("the end")
	}
	return ends
}

var ends int

// walk has calls within calls, two of which end by a panic when it is walked a second time.
func walking(argument string) error {
	defer func() { recover() }()
	depth, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	walkTo(depth)
	return nil
}

//go:noinline
func brew(tea string) {
	if tea == "" {
		panic(fmt.Errorf("no tea: %w", errEmpty))
	}
	var cup *struct{ full bool }
	cup.full = true
}

func panicking(tea string) error {
	defer func() { recover() }()
	brew(tea)
	return nil
}

// crashing ends the program by what cannot be recovered.
func crashing(string) error {
	var unlocked sync.Mutex
	unlocked.Unlock()
	return nil
}

//go:noinline
func readConfiguration(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return file.Close()
}

func open(path string) error {
	readConfiguration(path)
	return nil
}

func worker(work <-chan int, done *sync.WaitGroup) {
	defer done.Done()
	for range work {
	}
}

//go:noinline
func hire(work chan int, done *sync.WaitGroup) {
	done.Add(1)
	go worker(work, done)
}

// births: two goroutines that have ended when it returns, one that stays.
func births(string) error {
	before := runtime.NumGoroutine()
	work := make(chan int)
	var done sync.WaitGroup
	hire(work, &done)
	hire(work, &done)
	go func() {
		select {}
	}()
	close(work)
	done.Wait()
	for runtime.NumGoroutine() > before+1 {
		time.Sleep(time.Millisecond)
	}
	return nil
}

var stores sync.Mutex

//go:noinline
func lockStores() {
	stores.Lock()
	stores.Unlock()
}

func mutexWait(string) error {
	stores.Lock()
	done := make(chan bool, 1)
	go func() {
		lockStores()
		done <- true
	}()
	untilWaiting("main.lockStores")
	stores.Unlock()
	<-done
	return nil
}

//go:noinline
func takeOrder(orders <-chan int) int {
	return <-orders
}

func receiveWait(string) error {
	orders := make(chan int)
	go func() {
		untilWaiting("main.takeOrder")
		orders <- 1
	}()
	takeOrder(orders)
	return nil
}

//go:noinline
func takeEither(a, b <-chan int) int {
	select {
	case one := <-a:
		return one
	case one := <-b:
		return one
	}
}

func selectWait(string) error {
	orders := make(chan int)
	go func() {
		untilWaiting("main.takeEither")
		orders <- 1
	}()
	takeEither(orders, nil)
	return nil
}

// untilWaiting returns when a goroutine has parked below the function.
func untilWaiting(function string) {
	dump := make([]byte, 1<<20)
	for {
		for _, one := range strings.Split(string(dump[:runtime.Stack(dump, true)]), "\n\n") {
			state, stack, _ := strings.Cut(one, "\n")
			running := strings.Contains(state, "[runn") // running, runnable
			if strings.Contains(stack, function+"(") && !running {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
}

var kept [][]byte

func collect(string) error {
	for i := 0; i < 64; i++ {
		kept = append(kept, make([]byte, 1<<16))
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	kept = nil
	return nil
}

//go:noinline
func complain(logger *log.Logger) {
	log.Printf("out of %s, %d left", "tea", 0)
	log.Println("closing", 17)
	logger.Print("own logger")
}

func logging(string) error {
	log.SetOutput(&lost{})
	complain(log.New(&lost{}, "", 0))
	return nil
}

// lost is a writer; into io.Discard log formats nothing.
type lost struct{ bytes int }

func (w *lost) Write(text []byte) (int, error) {
	w.bytes += len(text)
	return len(text), nil
}

//go:noinline
func announce(w io.Writer) string {
	fmt.Fprintf(w, "%s costs %d\n", "tea", 7)
	fmt.Fprintln(w, "open", 8)
	return fmt.Sprintf("%v-%v", 1, "a")
}

func formatting(string) error {
	announce(&lost{})
	return nil
}
