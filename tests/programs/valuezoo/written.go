package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

var closed = map[uintptr]bool{} // channels

var errorType = reflect.TypeOf((*error)(nil)).Elem()

// written is a value's JSON by the contract, by means of package reflect.
func written(value reflect.Value) string {
	var out strings.Builder
	(&writer{out: &out, path: map[string]bool{}}).write(value)
	return out.String()
}

type writer struct {
	out  *strings.Builder
	path map[string]bool // pointers that are being written
}

func (w *writer) write(v reflect.Value) {
	if v.Type() == reflect.TypeOf(time.Time{}) {
		fmt.Fprintf(w.out, "%q", reachable(v).(time.Time).Format(time.RFC3339Nano))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		fmt.Fprint(w.out, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fmt.Fprint(w.out, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		fmt.Fprint(w.out, v.Uint())
	case reflect.Float32, reflect.Float64:
		w.float(v.Float(), v.Type().Bits())
	case reflect.Complex64, reflect.Complex128:
		w.out.WriteByte('[')
		w.float(real(v.Complex()), v.Type().Bits()/2)
		w.out.WriteByte(',')
		w.float(imag(v.Complex()), v.Type().Bits()/2)
		w.out.WriteByte(']')
	case reflect.String:
		w.text(v.String())
	case reflect.UnsafePointer:
		fmt.Fprint(w.out, v.Pointer())
	case reflect.Array:
		w.elements(v)
	case reflect.Slice:
		if v.IsNil() {
			w.out.WriteString("null")
		} else if v.Type().Elem() == reflect.TypeOf(byte(0)) {
			w.text(string(v.Bytes()))
		} else {
			w.within(v, func() { w.elements(v) })
		}
	case reflect.Struct:
		w.fields(v)
	case reflect.Ptr:
		if v.IsNil() {
			w.out.WriteString("null")
		} else {
			w.within(v, func() { w.write(v.Elem()) })
		}
	case reflect.Map:
		w.entries(v)
	case reflect.Interface:
		w.dynamic(v)
	case reflect.Chan:
		if v.IsNil() {
			w.out.WriteString("null")
		} else {
			fmt.Fprintf(w.out, `{"chan":{"len":%d,"cap":%d,"closed":%v}}`, v.Len(), v.Cap(), closed[v.Pointer()])
		}
	case reflect.Func:
		if v.IsNil() {
			w.out.WriteString("null")
		} else {
			fmt.Fprintf(w.out, `{"func":%q,"captured":{}}`, runtime.FuncForPC(v.Pointer()).Name())
		}
	}
}

func (w *writer) within(v reflect.Value, write func()) {
	place := fmt.Sprint(v.Pointer(), v.Type())
	if w.path[place] {
		w.out.WriteString(`{"cycle":true}`)
		return
	}
	w.path[place] = true
	write()
	delete(w.path, place)
}

func (w *writer) float(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		w.out.WriteString(`"NaN"`)
	case math.IsInf(f, 1):
		w.out.WriteString(`"+Inf"`)
	case math.IsInf(f, -1):
		w.out.WriteString(`"-Inf"`)
	default:
		w.out.WriteString(strconv.FormatFloat(f, 'g', -1, bits))
	}
}

func (w *writer) text(s string) {
	if !utf8.ValidString(s) {
		fmt.Fprintf(w.out, `{"hex":%q}`, hex.EncodeToString([]byte(s)))
		return
	}
	quoted, _ := json.Marshal(s)
	w.out.Write(quoted)
}

func (w *writer) elements(v reflect.Value) {
	w.out.WriteByte('[')
	for i := 0; i < v.Len(); i++ {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.write(v.Index(i))
	}
	w.out.WriteByte(']')
}

func (w *writer) fields(v reflect.Value) {
	w.out.WriteByte('{')
	first := true
	for i := 0; i < v.NumField(); i++ {
		name := v.Type().Field(i).Name
		if name == "_" {
			continue
		}
		if !first {
			w.out.WriteByte(',')
		}
		first = false
		fmt.Fprintf(w.out, "%q:", name)
		w.write(v.Field(i))
	}
	w.out.WriteByte('}')
}

func (w *writer) entries(v reflect.Value) {
	if v.IsNil() {
		w.out.WriteString("null")
		return
	}
	w.within(v, func() {
		w.out.WriteString(`{"map":[`)
		for i, entries := 0, v.MapRange(); entries.Next(); i++ {
			if i > 0 {
				w.out.WriteByte(',')
			}
			w.out.WriteByte('[')
			w.write(addressable(entries.Key()))
			w.out.WriteByte(',')
			w.write(addressable(entries.Value()))
			w.out.WriteByte(']')
		}
		fmt.Fprintf(w.out, `],"len":%d}`, v.Len())
	})
}

func (w *writer) dynamic(v reflect.Value) {
	if v.IsNil() {
		w.out.WriteString("null")
		return
	}
	inner := v.Elem()
	fmt.Fprintf(w.out, `{"type":%q,"value":`, linkName(inner.Type()))
	w.write(addressable(inner))
	// Of errors of this program's own types gotap does not know what they say.
	if inner.Type().Implements(errorType) && !strings.Contains(inner.Type().String(), "main.") {
		w.out.WriteString(`,"error":`)
		w.text(reachable(v).(error).Error())
	}
	w.out.WriteByte('}')
}

// addressable is a copy whose unexported fields can be looked at.
func addressable(v reflect.Value) reflect.Value {
	if v.CanInterface() && !v.CanAddr() {
		copied := reflect.New(v.Type()).Elem()
		copied.Set(v)
		return copied
	}
	return v
}

// reachable is the value as an interface, also when it was found through an unexported field.
func reachable(v reflect.Value) any {
	if v.CanInterface() {
		return v.Interface()
	}
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem().Interface()
}

// linkName is a type's name with its full import path, as the linker has it.
func linkName(t reflect.Type) string {
	if t.Name() == "" && t.Kind() == reflect.Ptr {
		return "*" + linkName(t.Elem())
	}
	if t.PkgPath() != "" {
		return t.PkgPath() + "." + t.Name()
	}
	return t.String()
}
