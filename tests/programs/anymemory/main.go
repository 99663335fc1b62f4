// Calls take with strings in all kinds of memory, a number of times for each line on stdin: constant, in the heap, on
// the stack, in mapped memory of every alignment up to its end, and where nothing can be read; with an argument, in
// memory that another thread maps and unmaps meanwhile. take does not look at them.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const page = 4096

var sum int64

//go:noinline
func take(s string) int {
	if len(s) > 1000 {
		take(s[1:])
	}
	return int(atomic.AddInt64(&sum, int64(len(s))))
}

//go:noinline
func on(text []byte) string { return unsafe.String(&text[0], len(text)) }

// island is two pages of text; what is behind them cannot be read.
func island() []byte {
	all, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		panic(err)
	}
	if err := syscall.Mprotect(all[2*page:], syscall.PROT_NONE); err != nil {
		panic(err)
	}
	for at := range all[:2*page] {
		all[at] = 'a' + byte(at%23)
	}
	return all[:2*page]
}

// flicker maps and unmaps a page for ever.
func flicker(address uintptr) {
	for {
		syscall.Syscall(syscall.SYS_MUNMAP, address, page, 0)
		syscall.Syscall6(syscall.SYS_MMAP, address, page, syscall.PROT_READ,
			syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_FIXED, ^uintptr(0), 0)
	}
}

func main() {
	text := island()
	gone := island()
	goneText := on(gone[100:130])
	if err := syscall.Mprotect(gone, syscall.PROT_NONE); err != nil {
		panic(err)
	}
	coming := island()
	comingText := on(coming[8:40])
	if len(os.Args) > 1 {
		go flicker(uintptr(unsafe.Pointer(&coming[0])))
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		count, _ := strconv.Atoi(lines.Text())
		for number := 0; number < count; number++ {
			if len(os.Args) > 1 {
				take(comingText)
				continue
			}
			var local [24]byte
			copy(local[:], "on the stack "+strconv.Itoa(number))
			take("a constant")
			take(strconv.Itoa(number) + " in the heap")
			take(on(local[:]))
			take(on(text[number : number+20]))
			take(on(text[2*page-20-number%16 : 2*page-number%16]))
			take(goneText)
		}
		fmt.Println("done", atomic.LoadInt64(&sum))
	}
}
