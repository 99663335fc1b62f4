package main

import (
	"context"
	"database/sql"
	"log"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

//go:noinline
func plain() {}

//gotap:span
//go:noinline
func spanned() {}

//go:noinline
func plainContext(ctx context.Context) error { return ctx.Err() }

//gotap:span
//go:noinline
func spannedContext(ctx context.Context) error { return ctx.Err() }

// callOf gives what is measured by its name.
func callOf(name string, database *sql.DB) func(count int) {
	ctx := context.Background()
	switch name {
	case "plain":
		return func(count int) {
			for i := 0; i < count; i++ {
				plain()
			}
		}
	case "spanned":
		return func(count int) {
			for i := 0; i < count; i++ {
				spanned()
			}
		}
	case "plain-context":
		return func(count int) {
			for i := 0; i < count; i++ {
				plainContext(ctx)
			}
		}
	case "spanned-context":
		return func(count int) {
			for i := 0; i < count; i++ {
				spannedContext(ctx)
			}
		}
	case "sql":
		return func(count int) {
			for i := 0; i < count; i++ {
				if _, err := database.ExecContext(ctx, statement, 1); err != nil {
					log.Fatal(err)
				}
			}
		}
	}
	log.Fatal("no call ", name)
	return nil
}

// measure makes the calls in ten pieces on one thread and gives the CPU time of that thread for a call in the cheapest
// piece, ns, and the allocations of a call.
func measure(calls func(count int), count int) (nanoseconds, allocations float64) {
	runtime.LockOSThread()
	const pieces = 10
	piece := count / pieces
	calls(piece / 10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := 0; i < pieces; i++ {
		begin := threadTime()
		calls(piece)
		if spent := float64(threadTime()-begin) / float64(piece); i == 0 || spent < nanoseconds {
			nanoseconds = spent
		}
	}
	runtime.ReadMemStats(&after)
	return nanoseconds, float64(after.Mallocs-before.Mallocs) / float64(piece*pieces)
}

// threadTime is the CPU time of this thread.
func threadTime() time.Duration {
	const threadClock = 3 // CLOCK_THREAD_CPUTIME_ID
	var now syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadClock, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		log.Fatal(errno)
	}
	return time.Duration(now.Nano())
}
