package main

import (
	"fmt"
	"io"
	"strings"
)

type shape interface{ Area() int }

func (p point) Area() int { return p.X * p.Y }

type boxed struct{ inner *point }

type wrapped struct {
	_     struct{}
	inner *point
}

func (boxed) Area() int { return 0 }

type holder struct {
	Any   any
	Shape shape
	Err   error
}

func interfaces() {
	add("nil any", any(nil))
	add("nil error", error(nil))
	add("any of int", any(7))
	add("any of large int", any(1<<40))
	add("any of string", any("text"))
	add("any of bool", any(true))
	add("any of byte", any(byte(200)))
	add("any of slice", any([]int{1, 2}))
	add("any of map", any(map[string]int{"a": 1}))
	add("any of struct", any(point{1, 2}))
	add("any of pointer", any(&point{1, 2}))
	add("any of nil pointer", any((*point)(nil)))
	add("any of nothing", any(nothing{}))
	add("any of array", any([1]*point{{1, 2}}), "[&{X:1 Y:2}]")
	add("any of boxed pointer", any(boxed{&point{1, 2}}), "{inner:&{X:1 Y:2}}")
	add("any of padded pointer", any(wrapped{inner: &point{1, 2}}), "{_:{} inner:&{X:1 Y:2}}")
	add("any of generic", any(pair[string, int]{"a", 1}))
	add("shape", shape(point{3, 4}))
	add("shape of pointer", shape(&point{3, 4}))
	add("shape of boxed", shape(boxed{nil}))
	add("reader", io.Reader(strings.NewReader("abc")))
	add("stringer", fmt.Stringer(&strings.Builder{}), "&{addr:<nil> buf:[]}")
	add("holder", holder{1, point{1, 2}, nil})
	add("anys", []any{1, "a", nil, 2.5, []any{true}})
}
