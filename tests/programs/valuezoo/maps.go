package main

import (
	"fmt"
	"math"
	"unsafe"
)

type large [200]byte

type odd struct {
	a byte
	b [2]byte
}

func maps() {
	add("nil map", map[string]int(nil))
	add("empty map", map[string]int{})
	add("map", map[string]int{"a": 1, "b": 2})
	add("map of full group", numbered(8))
	add("map of two groups", numbered(9))
	add("large map", numbered(2000))
	add("map[int]string", map[int]string{3: "c", -1: "a"})
	add("map[string]bool", map[string]bool{"yes": true, "no": false})
	add("map of empty structs", map[string]struct{}{"a": {}, "b": {}})
	add("map of nothing", map[struct{}]struct{}{{}: {}})
	add("map of odd sizes", map[odd]int8{{1, [2]byte{2, 3}}: -4, {5, [2]byte{6, 7}}: 8})
	add("map of byte arrays", map[[8]byte]int8{{1}: 1, {2}: 2, {3}: 3})
	add("map of byte arrays to words", map[[3]byte]int64{{1}: 1, {2}: 2})
	add("map of large keys", map[large]int{{1}: 1, {2}: 2})
	add("map of large elements", map[int]large{1: {1}, 2: {2}})
	add("map of large structs", map[string]struct {
		A [20]string
	}{"x": {}})
	add("map of NaN", map[float64]int{math.NaN(): 1, 1: 2, math.Inf(-1): 3})
	add("map of interfaces", map[any]any{1: "a"}, "map[1:a]")
	add("map of maps", map[string]map[string][]int{"a": {"b": {1}}, "c": nil})
	add("map of structs", map[point]*point{{1, 2}: {3, 4}}, "map[{X:1 Y:2}:&{X:3 Y:4}]")
	add("map of pointers", map[string]*int{"nil": nil})

	holes := numbered(300)
	for i := 0; i < 300; i += 2 {
		delete(holes, fmt.Sprint("key", i))
	}
	add("map with deleted entries", holes)
	few := numbered(1000)
	for i := 3; i < 1000; i++ {
		delete(few, fmt.Sprint("key", i))
	}
	add("map of few left", few)
	grow := map[int]int{}
	for i := 0; i < 1<<16 && !(len(grow) > 100 && growing(grow)); i++ {
		grow[i] = i * i
	}
	add("growing map", grow)
	same := map[int]int{}
	for i := 0; i < 1<<16; i++ {
		same[i] = i
		if i > 50 {
			delete(same, i-50)
			if growing(same) {
				break
			}
		}
	}
	add("map that grows to its own size", same)
	copied := numbered(20)
	clear120(copied)
	add("cleared map", copied)
}

func numbered(count int) map[string]int {
	m := map[string]int{}
	for i := 0; i < count; i++ {
		m[fmt.Sprint("key", i)] = i
	}
	return m
}

// growing tells whether a map of buckets is being moved: hmap.oldbuckets. Swiss tables are moved at once.
func growing(m map[int]int) bool {
	header := *(*unsafe.Pointer)(unsafe.Pointer(&m))
	return swiss || *(*uintptr)(unsafe.Add(header, 24)) != 0
}

func clear120(m map[string]int) {
	for key := range m {
		delete(m, key)
	}
}
