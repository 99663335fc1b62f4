// Appends a module whose code is in anonymous memory, as compilers at run time do (bytedance/sonic).
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

//go:linkname lastmoduledatap runtime.lastmoduledatap
var lastmoduledatap *[80]uintptr

var made [80]uintptr

// Its argument is the index of moduledata's last word, `next`.
func main() {
	next, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	code, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_EXEC, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	start := uintptr(unsafe.Pointer(&code[0]))
	copy(made[:next], lastmoduledatap[:next])
	made[20], made[21], made[22], made[23] = start, start+4096, start, start+4096
	lastmoduledatap[next] = uintptr(unsafe.Pointer(&made))
	fmt.Println(start)
	_, _ = fmt.Scanln()
}
