package gotaprt

import (
	"math"
	"sync"
)

// attributeLimit is how many attributes a span keeps (OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT has the same default).
const attributeLimit = 128

const errorTypeKey = "error.type"

const (
	textKind uint8 = iota
	intKind
	floatKind
	boolKind
)

// attribute is a key with a value of one of the kinds: a text or the bits of a number.
type attribute struct {
	key    string
	text   string
	number uint64
	kind   uint8
}

func floatBits(value float64) uint64 { return math.Float64bits(value) }

// set replaces the value of a key that is there, and adds one that is not as long as there is room.
func (r *record) set(one attribute) {
	for i := range r.attributes {
		if r.attributes[i].key == one.key {
			r.attributes[i] = one
			return
		}
	}
	if len(r.attributes) == attributeLimit {
		r.lost++
		return
	}
	r.attributes = append(r.attributes, one)
}

func (r *record) has(key string) bool {
	for i := range r.attributes {
		if r.attributes[i].key == key {
			return true
		}
	}
	return false
}

// room is memory for the attributes of a span, which the exporter gives to the next one.
type room [16]attribute

var rooms sync.Pool

// makeRoom is for a record without attributes that is to get so many.
func (r *record) makeRoom(count int) {
	if count > len(room{}) {
		r.attributes = make([]attribute, 0, count)
		return
	}
	if r.room, _ = rooms.Get().(*room); r.room == nil {
		r.room = new(room)
	}
	r.attributes = r.room[:0]
}

// giveRoom is for a record that has been sent.
func (r *record) giveRoom() {
	if one := r.room; one != nil {
		r.room, r.attributes = nil, nil
		*one = room{}
		rooms.Put(one)
	}
}

// setPairs sets texts: key, value, key, value. It is for a record that nobody else knows yet.
func (r *record) setPairs(pairs []string) {
	if len(pairs) < 2 {
		return
	}
	r.attributes = make([]attribute, 0, len(pairs)/2+2)
	for ; len(pairs) >= 2; pairs = pairs[2:] {
		r.set(attribute{key: pairs[0], text: pairs[1], kind: textKind})
	}
}
