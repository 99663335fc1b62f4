// Package main is written so that every Go since 1.5 compiles it, for every machine.
package main

import (
	"fmt"
	"os"
)

type point struct{ x, y int }

func (p *point) add(n int) int {
	p.x += n
	return p.x
}

func compute(n int) int {
	defer func() { recover() }()
	p := &point{n, 1}
	return p.add(n) + twice(n)
}

func twice(n int) int { return n + len(os.Args) }

func main() { fmt.Println(compute(len(os.Args))) }
