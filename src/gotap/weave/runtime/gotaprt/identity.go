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

func newTraceID() (id [16]byte) {
	for id == [16]byte{} {
		binary.BigEndian.PutUint64(id[:8], random())
		binary.BigEndian.PutUint64(id[8:], random())
	}
	return id
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
