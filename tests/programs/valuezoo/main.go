// Valuezoo holds values of every kind, says as JSON where each is, of which type, and how it is written, and then
// stands still until its stdin ends. What it says is the oracle of gotap's reader of values.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"unsafe"
)

// A specimen is a variable on the heap, which Go does not move.
type specimen struct {
	Name    string
	Address uintptr
	Type    uintptr // its descriptor
	Text    string  // as %+v writes it, or as docs/trace-values.md says where that differs
	JSON    json.RawMessage
	keep    any
}

var zoo []*specimen

type face struct{ typ, data unsafe.Pointer }

// add puts a value in: with the texts given, or with %+v and what package reflect sees of it.
func add[T any](name string, value T, texts ...string) *T {
	kept := new(T)
	*kept = value
	var pointer any = (*T)(nil)
	text := ""
	if len(texts) > 0 {
		text = texts[0]
	} else {
		text = fmt.Sprintf("%+v", value)
	}
	form := ""
	if len(texts) > 1 {
		form = texts[1]
	} else {
		form = written(reflect.ValueOf(kept).Elem())
	}
	typ := elem((*face)(unsafe.Pointer(&pointer)).typ)
	zoo = append(zoo, &specimen{name, uintptr(unsafe.Pointer(kept)), uintptr(typ), text, json.RawMessage(form), kept})
	return kept
}

// elem is the type that a pointer type's descriptor leads to, which stands behind its header of 48 bytes.
func elem(pointer unsafe.Pointer) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Add(pointer, 48))
}

func main() {
	scalars()
	composites()
	maps()
	interfaces()
	failures()
	moments()
	functions()
	contexts()
	sayings()
	since120()
	since121()
	json.NewEncoder(os.Stdout).Encode(zoo)
	io.Copy(io.Discard, os.Stdin)
}
