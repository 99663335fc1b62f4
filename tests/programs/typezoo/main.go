// Typezoo prints, as JSON, what reflect says about types of every kind and where their descriptors are.
// The tests compare it with what gotap reads from the executable.
package main

import (
	"encoding/json"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unsafe"

	odd "example.com/typezoo.v1/odd.v2"
)

type Inner struct {
	A int8
	B string
}

type Pair[K comparable, V any] struct {
	key   K
	value V
	next  *Pair[K, V]
}

type header map[string][]string

type empty struct{}

type closer interface {
	Close() error
	quiet(int, ...string) (bool, error)
}

type big [200]byte

type Zoo struct {
	Inner
	*strings.Builder
	io.Reader
	Bool   bool
	I8     int8
	I64    int64
	U16    uint16
	Ptr    uintptr
	F32    float32
	C64    complex64
	C128   complex128
	S      string
	P      **Inner
	U      unsafe.Pointer
	Array  [3]uint16
	One    [1]float64
	Slice  []Inner
	Map    map[string]*Inner
	Nested map[[2]int]map[string]interface{}
	Bigs   map[big]big
	Header header
	Any    interface{}
	Err    error
	Closer closer
	Iface  interface {
		Foo(int) string
		bar(*Inner)
	}
	Func  func(int, ...string) (bool, error)
	Both  chan int
	Recv  <-chan Inner
	Send  chan<- *Zoo
	Chans chan (<-chan int)
	Anon  struct {
		x int
		Y string `json:"y" xml:"\"y\""`
	}
	Pair  Pair[string, map[int]Inner]
	Odd   *odd.Shape
	Odds  map[odd.Shape][]odd.Shape
	After time.Duration
	_     [7]byte
	End   empty
}

type field struct {
	Name     string
	Type     string
	Offset   uintptr
	Embedded bool
}

type description struct {
	Name    string
	Kind    string
	Size    uintptr
	Align   int
	Address uintptr
	Elem    string  `json:",omitempty"`
	Key     string  `json:",omitempty"`
	Len     int     `json:",omitempty"`
	Methods int     `json:",omitempty"`
	Fields  []field `json:",omitempty"`
}

// address is the address of a type's descriptor: the data word of a reflect.Type.
func address(t reflect.Type) uintptr {
	return (*[2]uintptr)(unsafe.Pointer(&t))[1]
}

func describe(t reflect.Type) description {
	d := description{Name: name(t), Kind: t.Kind().String(), Size: t.Size(), Align: t.Align(), Address: address(t)}
	switch t.Kind() {
	case reflect.Map:
		d.Key, d.Elem = name(t.Key()), name(t.Elem())
	case reflect.Array:
		d.Len, d.Elem = t.Len(), name(t.Elem())
	case reflect.Chan, reflect.Ptr, reflect.Slice:
		d.Elem = name(t.Elem())
	case reflect.Interface:
		d.Methods = t.NumMethod()
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			d.Fields = append(d.Fields, field{f.Name, name(f.Type), f.Offset, f.Anonymous})
		}
	}
	return d
}

// escape writes an import path as the linker does (cmd/internal/objabi, PathToPrefix).
func escape(path string) string {
	slash := strings.LastIndex(path, "/") + 1
	return path[:slash] + strings.ReplaceAll(path[slash:], ".", "%2e")
}

func qualified(path, name string) string {
	if path == "" {
		return name
	}
	return escape(path) + "." + name
}

func name(t reflect.Type) string {
	if t.Name() != "" {
		return qualified(t.PkgPath(), t.Name())
	}
	switch t.Kind() {
	case reflect.Ptr:
		return "*" + name(t.Elem())
	case reflect.Slice:
		return "[]" + name(t.Elem())
	case reflect.Array:
		return "[" + strconv.Itoa(t.Len()) + "]" + name(t.Elem())
	case reflect.Map:
		return "map[" + name(t.Key()) + "]" + name(t.Elem())
	case reflect.Chan:
		elem := name(t.Elem())
		if t.ChanDir() == reflect.BothDir && strings.HasPrefix(elem, "<-") {
			elem = "(" + elem + ")"
		}
		return t.ChanDir().String() + " " + elem
	case reflect.Func:
		return "func" + signature(t)
	case reflect.Interface:
		var methods []string
		for i := 0; i < t.NumMethod(); i++ {
			m := t.Method(i)
			methods = append(methods, qualified(m.PkgPath, m.Name)+signature(m.Type))
		}
		return braces("interface", methods)
	case reflect.Struct:
		var fields []string
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			text := name(f.Type)
			if !f.Anonymous {
				text = qualified(f.PkgPath, f.Name) + " " + text
			}
			if f.Tag != "" {
				text += " " + strconv.Quote(string(f.Tag))
			}
			fields = append(fields, text)
		}
		return braces("struct", fields)
	}
	return t.String()
}

func braces(word string, parts []string) string {
	if len(parts) == 0 {
		return word + " {}"
	}
	return word + " { " + strings.Join(parts, "; ") + " }"
}

func signature(t reflect.Type) string {
	var in, out []string
	for i := 0; i < t.NumIn(); i++ {
		text := name(t.In(i))
		if t.IsVariadic() && i == t.NumIn()-1 {
			text = "..." + strings.TrimPrefix(text, "[]")
		}
		in = append(in, text)
	}
	for i := 0; i < t.NumOut(); i++ {
		out = append(out, name(t.Out(i)))
	}
	text := "(" + strings.Join(in, ", ") + ")"
	if len(out) == 1 {
		return text + " " + out[0]
	}
	if len(out) > 1 {
		text += " (" + strings.Join(out, ", ") + ")"
	}
	return text
}

// loadAddress is where the executable's first byte is mapped.
func loadAddress() uint64 {
	path, err := os.Executable()
	check(err)
	maps, err := os.ReadFile("/proc/self/maps")
	check(err)
	for _, line := range strings.Split(string(maps), "\n") {
		if strings.HasSuffix(line, path) {
			start, err := strconv.ParseUint(line[:strings.Index(line, "-")], 16, 64)
			check(err)
			return start
		}
	}
	panic("no mapping of " + path)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	zoo := Zoo{Odd: odd.New("cat")}
	seen := map[reflect.Type]bool{}
	var types []description
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		if seen[t] || len(seen) > 400 {
			return
		}
		seen[t] = true
		types = append(types, describe(t))
		switch t.Kind() {
		case reflect.Map:
			walk(t.Key())
			walk(t.Elem())
		case reflect.Array, reflect.Chan, reflect.Ptr, reflect.Slice:
			walk(t.Elem())
		case reflect.Struct:
			for i := 0; i < t.NumField(); i++ {
				walk(t.Field(i).Type)
			}
		}
	}
	walk(reflect.TypeOf(&zoo))
	walk(reflect.TypeOf(os.Stdout))
	check(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"LoadAddress": loadAddress(), "Types": types}))
}
