// Functions that return in many ways, called often with many arguments. The last line printed is a checksum.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

type node struct {
	left, right *node
	key         int
	name        string
}

type shape interface {
	area(scale int) (int, error)
}

type square struct{ side int }
type circle struct{ r int }
type wrapped struct{ shape }

var errNegative = errors.New("negative")
var global *node
var calls uint64

//go:noinline
func (s square) area(scale int) (int, error) {
	if scale < 0 {
		return 0, errNegative
	}
	return s.side * s.side * scale, nil
}

//go:noinline
func (c *circle) area(scale int) (int, error) {
	if c == nil {
		return -1, io.EOF
	}
	if scale == 3 {
		return strconv.Atoi("3x")
	}
	return 3 * c.r * c.r * scale, nil
}

//go:noinline
func constants(x int) (int, string, bool) {
	if x < 0 {
		return -1, "negative", false
	}
	if x > 100 {
		return 100, "big", true
	}
	if x&1 == 0 {
		return 0, "even", true
	}
	return 1, "odd", false
}

//go:noinline
func loops(s string, c byte) (int, error) {
	for i := 0; i < len(s); i++ {
		if s[i] == c {
			return i, nil
		}
		if s[i] == '!' {
			return i, errNegative
		}
	}
	return -1, io.ErrUnexpectedEOF
}

//go:noinline
func spills(a, b, c, d int, s string) (int, int, string, error) {
	x := bump(a)
	y := bump(b)
	if x > y {
		return x + c, y + d, s, nil
	}
	z := bump(c)
	if z == 7 {
		return z, x, s, errNegative
	}
	return y, z, strings.ToUpper(s), nil
}

//go:noinline
func bump(x int) int {
	calls++
	return x*3 + 1
}

//go:noinline
func many(x int) (a, b, c, d, e, f, g, h, i, j, k int) {
	if x > 10 {
		return 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, x
	}
	return x, x + 1, bump(x), 3, 4, 5, 6, 7, 8, 9, bump(x)
}

//go:noinline
func cases(x int) string {
	switch x {
	case 0:
		return "zero"
	case 1:
		calls += 3
		return "one"
	case 2:
		return strconv.Itoa(x * 1000)
	case 3:
		return strings.Repeat("three", bump(x)&3)
	case 4:
		global = nil
		return "four"
	case 5:
		calls++
	case 6:
		return strconv.Itoa(bump(x))
	case 7:
		panicFree(x)
		return "seven"
	case 8:
		return strings.ToUpper("eight")
	case 9:
		calls -= 2
		return "nine"
	case 10:
		return "ten"
	}
	return "many"
}

//go:noinline
func panicFree(x int) {
	if x < 0 {
		panic("negative")
	}
}

//go:noinline
func insert(t *node, key int) (*node, bool) {
	if t == nil {
		return &node{key: key}, true
	}
	if key == t.key {
		return t, false
	}
	var added bool
	if key < t.key {
		t.left, added = insert(t.left, key)
	} else {
		t.right, added = insert(t.right, key)
	}
	return t, added
}

//go:noinline
func keep(n *node) *node {
	old := global
	global = n
	return old
}

//go:noinline
func recovers(x int) (result int, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = -x, fmt.Errorf("recovered %v", r)
		}
	}()
	if x%5 == 0 {
		panic(x)
	}
	if x%7 == 0 {
		return 7, nil
	}
	return bump(x), errNegative
}

//go:noinline
func defers(x int) (result int) {
	for i := 0; i < x%3; i++ {
		defer func() { result++ }()
	}
	if x > 50 {
		return x
	}
	return bump(x)
}

//go:noinline
func small(x int) (byte, bool, int32, float64) {
	if x < 10 {
		return byte(x), x > 3, int32(-x), 0.5
	}
	return 9, x&1 == 1, int32(x), float64(x)
}

//go:noinline
func deep(n int) int {
	var pad [256]int
	pad[n&255] = n
	if n == 0 {
		return 0
	}
	return deep(n-1) + pad[n&255]
}

//go:noinline
func huge(n int) (int, error) {
	var pad [9000]int
	for i := range pad {
		pad[i] = i ^ n
	}
	if n < 0 {
		return 0, errNegative
	}
	return pad[n&1023] + pad[8999], nil
}

//go:noinline
func tryCopy(dst, src []byte) (int, error) {
	if len(dst) < len(src) {
		return 0, io.ErrShortWrite
	}
	return copy(dst, src), nil
}

func run(i int) string {
	var b strings.Builder
	say := func(values ...interface{}) { fmt.Fprint(&b, values...) }
	n, s, ok := constants(i - 3)
	say(n, s, ok)
	p, err := loops("abc!def", "acdxf"[i%5])
	say(p, err)
	x, y, z, err := spills(i, 9-i, i%3, i, "text")
	say(x, y, z, err)
	_, _, c, _, _, _, _, _, _, _, k := many(i)
	say(c, k, cases(i%13))
	shapes := []shape{square{i}, &circle{i}, (*circle)(nil), &square{2}, &wrapped{square{3}}, wrapped{&circle{4}}}
	area, err := shapes[i%len(shapes)].area(i%5 - 1)
	say(area, err)
	t, added := insert(global, i*7919%31)
	keep(t)
	say(added)
	r, err := recovers(i)
	say(r, err, defers(i))
	u, v, w, f := small(i)
	say(u, v, w, f)
	done := make(chan int)
	go func() {
		h, _ := huge(i - 2)
		done <- deep(i%40) + h
	}()
	say(<-done)
	m, err := tryCopy(make([]byte, i%6), []byte("abc"))
	say(m, err)
	return b.String()
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	sum := 0
	for i := 0; i < rounds; i++ {
		for _, c := range run(i) {
			sum = sum*31 + int(c)
		}
	}
	fmt.Println(sum)
}
