package main

import (
	"fmt"
	"strings"
)

func plainFunction(a int) int { return a + 1 }

func (p *point) Move(dx int) { p.X += dx }

func genericFunction[T any](value T) string { return fmt.Sprint(value) }

func functions() {
	add("func", plainFunction, "main.plainFunction")
	add("nil func", (func())(nil))
	add("std func", strings.ToUpper, "strings.ToUpper")
	add("funcs", []func(int) int{plainFunction, nil}, "[main.plainFunction <nil>]")
	where := &point{1, 2}
	add("method value", where.Move, "main.(*point).Move-fm{~recv:&{X:1 Y:2}}",
		`{"func":"main.(*point).Move-fm","captured":{"~recv":{"X":1,"Y":2}}}`)
	add("method value of struct", (*where).Area, "main.point.Area-fm{~recv:{X:1 Y:2}}",
		`{"func":"main.point.Area-fm","captured":{"~recv":{"X":1,"Y":2}}}`)
	add("method expression", (*point).Move, "main.(*point).Move")
	count := counting(3, "n")
	count()
	count()
	add("closure", count, "main.counting.func1",
		`{"func":"main.counting.func1","captured":{"unavailable":"the program does not describe captured variables"}}`)
	add("literal", func() int { return 1 }, "main.functions.func1", `{"func":"main.functions.func1","captured":{}}`)
}

//go:noinline
func counting(step int, label string) func() string {
	total := 0
	return func() string {
		total += step
		return fmt.Sprint(label, total)
	}
}
