package gotaprt

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"unsafe"
)

// memo keeps what was made of texts that come again and again, as the statements of a program do. It holds a text for
// each of its places and forgets it for another one with the same place. The zero value is empty.
type memo struct {
	places [256]atomic.Pointer[remembered]
}

// remembered is a result with all that it was made of. The lists are constants, which are told apart by where they lie.
type remembered struct {
	query, driver     Text
	systems, dialects unsafe.Pointer
	result            string
}

var memoSeed = maphash.MakeSeed()

// of gives what is remembered, else what make gives, which depends on these inputs only.
func (m *memo) of(query, driver Text, systems, dialects Texts, make func(query, driver Text, systems, dialects Texts) string) string {
	key := remembered{query, driver, place(systems), place(dialects), ""}
	slot := &m.places[uint8(maphash.String(memoSeed, query.text)^maphash.String(memoSeed, driver.text))]
	if known := slot.Load(); known != nil && known.query == query && known.driver == driver &&
		known.systems == key.systems && known.dialects == key.dialects {
		return known.result
	}
	key.result = make(query, driver, systems, dialects)
	key.query.text = strings.Clone(query.text) // it may be a part of something large
	fresh := key
	slot.Store(&fresh)
	return key.result
}

func place(list Texts) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(list))
}
