package gotaprt

import (
	"encoding/binary"
	"hash/maphash"
)

// random gives 64 bits of the runtime's generator, which no seed of the program's own changes and whose use does not
// change the program's own random numbers. A new seed of maphash is such a number; hashing nothing gives it back mixed
// or as it is (hash/maphash of Go 1.21 to 1.27).
func random() uint64 {
	return maphash.Bytes(maphash.MakeSeed(), nil)
}

// newTrace gives the ids of a trace and of its root, and whether it is sampled.
func newTrace(s sampler) identity {
	low := random()
	return traceOf(low, s.takes(low))
}

// traceOf gives the ids by the last 8 bytes of the trace's. What can be computed from other bits is not drawn: the root's
// id, which has to be unique in its trace only, and most of the ids of a trace that nobody will see.
func traceOf(low uint64, sampled bool) (id identity) {
	high := mixed(low)
	if id.sampled = sampled; sampled {
		high = random()
	}
	binary.BigEndian.PutUint64(id.traceID[:8], high)
	binary.BigEndian.PutUint64(id.traceID[8:], low)
	binary.BigEndian.PutUint64(id.spanID[:], mixed(high^low+1))
	return id
}

// mixed gives another number for each number, and never 0: the finalizer of SplitMix64 (Steele, Lea, Flood 2014), which
// is a bijection, but for the one number that it makes 0 of.
func mixed(number uint64) uint64 {
	number = (number ^ number>>30) * 0xbf58476d1ce4e5b9
	number = (number ^ number>>27) * 0x94d049bb133111eb
	if number ^= number >> 31; number == 0 {
		return 1
	}
	return number
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
	text = text[:2*len(bytes)]
	for i := range bytes {
		high, low := nibble(text[2*i]), nibble(text[2*i+1])
		if high|low > 15 {
			return false
		}
		bytes[i] = high<<4 | low
	}
	return true
}

// nibble is what a digit stands for, and more than 15 if it is none.
func nibble(digit byte) byte {
	switch {
	case '0' <= digit && digit <= '9':
		return digit - '0'
	case 'a' <= digit && digit <= 'f':
		return digit - 'a' + 10
	}
	return 0xff
}
