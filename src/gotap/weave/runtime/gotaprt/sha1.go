package gotaprt

import (
	"encoding/binary"
	"math/bits"
)

// sha1 is the hash of FIPS 180-4, section 6.1, of one short text. crypto/sha1 would bring a module of ciphers along, which
// checks itself when a program starts.
func sha1(text string) (digest [20]byte) {
	message := append([]byte(text), 0x80)
	for len(message)%64 != 56 {
		message = append(message, 0)
	}
	message = binary.BigEndian.AppendUint64(message, uint64(len(text))*8)
	state := [5]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}
	for ; len(message) > 0; message = message[64:] {
		var words [80]uint32
		for i := range words {
			if i < 16 {
				words[i] = binary.BigEndian.Uint32(message[4*i:])
			} else {
				words[i] = bits.RotateLeft32(words[i-3]^words[i-8]^words[i-14]^words[i-16], 1)
			}
		}
		a, b, c, d, e := state[0], state[1], state[2], state[3], state[4]
		for i, word := range words {
			var mixed uint32
			switch i / 20 {
			case 0:
				mixed = (b&c | ^b&d) + 0x5a827999
			case 1:
				mixed = (b ^ c ^ d) + 0x6ed9eba1
			case 2:
				mixed = (b&c | b&d | c&d) + 0x8f1bbcdc
			default:
				mixed = (b ^ c ^ d) + 0xca62c1d6
			}
			a, b, c, d, e = bits.RotateLeft32(a, 5)+mixed+e+word, a, bits.RotateLeft32(b, 30), c, d
		}
		for i, add := range [5]uint32{a, b, c, d, e} {
			state[i] += add
		}
	}
	for i, word := range state {
		binary.BigEndian.PutUint32(digest[4*i:], word)
	}
	return digest
}
