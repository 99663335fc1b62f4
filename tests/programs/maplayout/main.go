// Prints what the runtime's type descriptors say of the layout of maps, one line each: the name of the element's type,
// then six words from GroupSize on (internal/abi.SwissMapType of Go 1.24 and 1.25, MapType later).
package main

import (
	"fmt"
	"reflect"
	"unsafe"
)

// behind abi.Type (48 bytes), Key, Elem, Group and Hasher.
const groupSize = 48 + 4*8

type face struct{ typ, data unsafe.Pointer }

func main() {
	for _, m := range []any{
		map[string]struct{}{}, map[string][0]int{}, map[string]bool{}, map[string]int32{}, map[string]string{},
		map[string][]string{}, map[string][3]byte{}, map[string][128]byte{},
	} {
		words := *(*[6]uintptr)(unsafe.Add((*face)(unsafe.Pointer(&m)).typ, groupSize))
		fmt.Println(reflect.TypeOf(m).Elem().Size(), words)
	}
}
