package gotaprt

import (
	"encoding/binary"
	"hash/maphash"
	"strings"
)

// random gives 64 bits of the runtime's generator, which no seed of the program's own changes and whose use does not
// change the program's own random numbers. A new seed of maphash is such a number; hashing nothing gives it back mixed
// or as it is (hash/maphash of Go 1.21 to 1.27).
func random() uint64 {
	return maphash.Bytes(maphash.MakeSeed(), nil)
}

// newTrace gives the ids of a trace and of its root. The second is computed from the first, which is as unique and
// spares a random number.
func newTrace() (trace [16]byte, root [8]byte) {
	high, low := random(), random()
	if high == 0 && low == 0 {
		low = 1
	}
	binary.BigEndian.PutUint64(trace[:8], high)
	binary.BigEndian.PutUint64(trace[8:], low)
	// The finalizer of SplitMix64 (Steele, Lea, Flood 2014) is a bijection, so of 2^64 numbers one only gives 0.
	mixed := high ^ low
	mixed = (mixed ^ mixed>>30) * 0xbf58476d1ce4e5b9
	mixed = (mixed ^ mixed>>27) * 0x94d049bb133111eb
	if mixed ^= mixed >> 31; mixed == 0 {
		mixed = 1
	}
	binary.BigEndian.PutUint64(root[:], mixed)
	return trace, root
}

func newSpanID() (id [8]byte) {
	for id == [8]byte{} {
		binary.BigEndian.PutUint64(id[:], random())
	}
	return id
}

const digits = "0123456789abcdef"

func hexadecimal(bytes []byte) string {
	var room [32]byte
	text := room[:0]
	for _, one := range bytes {
		text = append(text, digits[one>>4], digits[one&15])
	}
	return string(text)
}

// parseHex reads lower-case hexadecimal digits, as W3C Trace Context has them, into all of bytes.
func parseHex(bytes []byte, text string) bool {
	for i := range bytes {
		high, low := strings.IndexByte(digits, text[2*i]), strings.IndexByte(digits, text[2*i+1])
		if high < 0 || low < 0 {
			return false
		}
		bytes[i] = byte(high<<4 | low)
	}
	return true
}
