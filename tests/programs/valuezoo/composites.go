package main

import (
	"fmt"
	"sync"
)

type point struct{ X, Y int }

type Base struct {
	ID   uint32
	name string
}

type Derived struct {
	Base
	*point
	Tags []string
	_    int32
	ok   bool
}

type node struct {
	Value int
	Next  *node
}

type tree struct {
	Left, Right *tree
	Leaf        string
}

type pair[K comparable, V any] struct {
	Key   K
	Value V
}

type list[T any] struct {
	head *cell[T]
	size int
}

type cell[T any] struct {
	item T
	next *cell[T]
}

type nothing struct{}

type turtles []turtles

type octets []byte

func composites() {
	add("array", [3]int{1, 2, 3})
	add("array of bytes", [4]byte{1, 2, 3, 4})
	add("empty array", [0]int{})
	add("array of structs", [2]point{{1, 2}, {3, 4}})
	add("slice", []int{1, 2, 3})
	add("slice of int8", []int8{-1, 2})
	add("slice of bools", []bool{true, false})
	add("slice of float32", []float32{0.1, 0.2})
	add("nil slice", []int(nil))
	add("empty slice", []int{})
	add("slice of strings", []string{"a", "", "c d"})
	add("slice of slices", [][]string{{"a"}, nil, {}})
	add("bytes", []byte("text"))
	add("binary", []byte{0xff, 0, 1})
	add("nil bytes", []byte(nil))
	add("empty bytes", []byte{})
	add("named bytes", octets("raw"))
	add("slice of nothing", make([]struct{}, 3))
	add("large slice", make([]uint16, 1000))

	add("struct", point{1, -2})
	add("empty struct", nothing{})
	add("embedded", Derived{Base{7, "base"}, &point{1, 2}, []string{"x"}, 0, true},
		"{Base:{ID:7 name:base} point:&{X:1 Y:2} Tags:[x] _:0 ok:true}")
	add("anonymous struct", struct {
		A int
		B struct{ C string }
	}{1, struct{ C string }{"c"}})
	add("mutex", &sync.Mutex{})

	add("pointer", &point{1, 2})
	number := 5
	add("pointer to int", &number, "&5")
	address := &number
	add("pointer to pointer", &address, "&&5")
	add("nil pointer", (*point)(nil))
	add("pointer to slice", &[]int{1})
	add("pointer to map", &map[string]int{"a": 1})
	add("pointer to string", new(string), "&")
	add("pointer to nothing", &nothing{})

	add("list", &node{1, &node{2, nil}}, "&{Value:1 Next:&{Value:2 Next:<nil>}}")
	ring := &node{1, nil}
	ring.Next = &node{2, ring}
	add("ring", ring, "&{Value:1 Next:&{Value:2 Next:<cycle>}}")
	add("ring by value", *ring, "{Value:1 Next:&{Value:2 Next:&{Value:1 Next:<cycle>}}}",
		`{"Value":1,"Next":{"Value":2,"Next":{"Value":1,"Next":{"cycle":true}}}}`)
	leaf := &tree{Leaf: "leaf"}
	add("shared", tree{leaf, leaf, ""},
		"{Left:&{Left:<nil> Right:<nil> Leaf:leaf} Right:&{Left:<nil> Right:<nil> Leaf:leaf} Leaf:}")
	self := make(turtles, 1)
	self[0] = self
	add("slice in itself", self, "[<cycle>]")
	loop := map[string]any{}
	loop["me"] = loop
	add("map in itself", loop, "map[me:<cycle>]")

	add("generic", pair[string, int]{"k", 1})
	add("generic of struct", pair[point, []string]{point{1, 2}, []string{"a"}})
	add("generic list", list[string]{&cell[string]{"a", &cell[string]{"b", nil}}, 2},
		"{head:&{item:a next:&{item:b next:<nil>}} size:2}")

	add("nil chan", (chan int)(nil))
	full := make(chan string, 3)
	full <- "a"
	full <- "b"
	add("chan", full, "chan(len 2, cap 3)")
	done := make(chan struct{})
	close(done)
	closed[pointerOf(done)] = true
	add("closed chan", done, "chan(len 0, cap 0, closed)")
	add("receiving chan", (<-chan string)(full), "chan(len 2, cap 3)")
}

func pointerOf(c chan struct{}) uintptr {
	var address uintptr
	fmt.Sscanf(fmt.Sprintf("%p", c), "0x%x", &address)
	return address
}
