// Inlined calls, each in a function of its own that notes how often it makes the call: what probes of them must count.
package main

import (
	"fmt"
	"os"
	"sort"
	"strconv"
)

type box struct {
	value int
	items []int
	next  *box
}

var (
	calls = map[string]*int{}
	sink  int
	flags [8]bool
)

// note gives the counter of a caller and what it calls.
func note(caller, callee string) *int {
	counter := new(int)
	calls[caller+" "+callee] = counter
	return counter
}

var (
	n0  = note("main.straightGuard", "main.guard")
	n1  = note("main.loopGuard", "main.guard")
	n2  = note("main.branchGuard", "main.guard")
	n3  = note("main.straightSum", "main.sum")
	n4  = note("main.loopSum", "main.sum")
	n5  = note("main.conditionLess", "main.less")
	n6  = note("main.straightGet", "main.(*box).get")
	n7  = note("main.branchGet", "main.(*box).get")
	n8  = note("main.loopSet", "main.(*box).set")
	n9  = note("main.loopPush", "main.(*box).push")
	n10 = note("main.branchPush", "main.(*box).push")
	n11 = note("main.loopDistance", "main.distance")
	n12 = note("main.branchDistance", "main.distance")
	n13 = note("main.walkLast", "main.(*box).last")
	n14 = note("main.switchGuard", "main.guard")
	n15 = note("main.nestedTwice", "main.twice")
	n16 = note("main.shortCircuit", "main.less")
	n17 = note("main.recursive", "main.distance")
	n18 = note("main.lateUse", "main.(*box).get")
	n19 = note("main.doubled", "main.double")
	n20 = note("main.known", "main.guard")
	n21 = note("main.search", "main.find")
	n22 = note("main.invariant", "main.distance")
	n23 = note("main.forever", "main.less")
)

func guard(x bool) {
	if x {
		sink++
	}
}

func sum(values []int) (total int) {
	for _, value := range values {
		total += value
	}
	return total
}

func less(a, b int) bool { return a < b }

func (b *box) get() int { return b.value }

func (b *box) set(value int) { b.value = value }

func (b *box) push(value int) { b.items = append(b.items, value) }

func distance(a, b int) int {
	if a > b {
		return a - b
	}
	return b - a
}

func (b *box) last() *box {
	for b.next != nil {
		b = b.next
	}
	return b
}

func twice(b *box) int { return b.get() + distance(b.value, 5) }

func double(x int) int { return x * 2 }

func find(values []int, wanted int) int {
	for i, value := range values {
		if value == wanted {
			return i
		}
	}
	return -1
}

//go:noinline
func straightGuard(x bool) {
	*n0++
	guard(x)
	sink += 2
}

//go:noinline
func loopGuard(n int) {
	for i := 0; i < n; i++ {
		*n1++
		guard(i%3 == 0)
	}
}

//go:noinline
func branchGuard(a, b int) {
	if a > b {
		*n2++
		guard(a > 7)
	}
	sink++
}

//go:noinline
func straightSum(values []int) int {
	*n3++
	return sum(values) + 1
}

//go:noinline
func loopSum(n int, values []int) (total int) {
	for i := 0; i < n; i++ {
		*n4++
		total += sum(values)
	}
	return total
}

//go:noinline
func conditionLess(n int) (i int) {
	for *n5++; less(i, n); *n5++ {
		i++
		sink++
	}
	return i
}

//go:noinline
func straightGet(b *box) int {
	*n6++
	return b.get() + 1
}

//go:noinline
func branchGet(b *box, x bool) int {
	if x {
		*n7++
		sink += b.get()
	}
	return sink
}

//go:noinline
func loopSet(b *box, n int) {
	for i := 0; i < n; i++ {
		*n8++
		b.set(i)
	}
}

//go:noinline
func loopPush(b *box, n int) {
	for i := 0; i < n; i++ {
		*n9++
		b.push(i)
	}
}

//go:noinline
func branchPush(b *box, n int) {
	if n&1 == 0 {
		*n10++
		b.push(n)
	}
	sink++
}

//go:noinline
func loopDistance(n int) (total int) {
	for i := 0; i < n; i++ {
		*n11++
		total += distance(i, total)
	}
	return total
}

//go:noinline
func branchDistance(a, b int) (total int) {
	total = a
	if a&2 == 0 {
		*n12++
		total = distance(a, b)
	}
	return total
}

//go:noinline
func walkLast(b *box, n int) (total int) {
	for i := 0; i < n; i++ {
		*n13++
		total += b.last().value
	}
	return total
}

//go:noinline
func switchGuard(n int) {
	switch n % 4 {
	case 0:
		*n14++
		guard(flags[n&7])
	case 1:
		sink += 2
	default:
		sink++
	}
}

//go:noinline
func nestedTwice(b *box, n int) (total int) {
	for i := 0; i < n; i++ {
		*n15++
		total += twice(b)
	}
	return total
}

//go:noinline
func shortCircuit(a, b, c int) bool {
	if a > 3 {
		*n16++
		if less(b, c) {
			return true
		}
	}
	return false
}

//go:noinline
func recursive(n int) int {
	if n == 0 {
		return 0
	}
	*n17++
	return recursive(n-1) + distance(n, sink)
}

//go:noinline
func lateUse(b *box, x bool) int {
	*n18++
	value := b.get()
	if x {
		return value * 3
	}
	return 7
}

//go:noinline
func doubled(n int) (total int) {
	for i := 0; i < n; i++ {
		total = i
		if i&1 == 0 {
			*n19++
			total = double(i)
		}
		sink += total
	}
	return total
}

//go:noinline
func known(x bool) {
	*n20++
	if x {
		sink += 3
	}
	guard(x)
}

//go:noinline
func search(values []int, n int) (total int) {
	for i := 0; i < n; i++ {
		*n21++
		total += find(values, i)
	}
	return total
}

//go:noinline
func invariant(a, b, n int) (total int) {
	for i := 0; i < n; i++ {
		*n22++
		total += distance(a, b)
	}
	return total
}

//go:noinline
func forever(n int) (i int) {
	for {
		*n23++
		if !less(i, n) {
			return i
		}
		i++
	}
}

func round(i int) {
	b := &box{value: i, next: &box{value: 1, next: &box{value: 2}}}
	values := []int{i, 4, 9, 16}
	straightGuard(i%2 == 0)
	loopGuard(i % 5)
	branchGuard(i%11, i%7)
	sink += straightSum(values) + loopSum(i%4, values) + conditionLess(i%6) + straightGet(b) + branchGet(b, i%3 == 1)
	loopSet(b, i%3)
	loopPush(b, i%7)
	branchPush(b, i)
	sink += loopDistance(i%5) + branchDistance(i, sink) + walkLast(b, i%4) + nestedTwice(b, i%3) + recursive(i%6)
	switchGuard(i)
	guardWhen := shortCircuit(i%8, i%3, i%5)
	known(guardWhen)
	sink += lateUse(b, i%4 == 2) + doubled(i%9) + search(values, i%5) + invariant(i, 4, i%3) + forever(i%4)
	flags[i&7] = guardWhen
}

func main() {
	times, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	for i := 0; i < times; i++ {
		round(i)
	}
	names := make([]string, 0, len(calls))
	for name := range calls {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println(name, *calls[name])
	}
	if sink == 1 {
		fmt.Println("never")
	}
}
