package gotaprt

import (
	"strings"
	"unicode/utf8"
)

// The states of a column.
const (
	columnAbsent uint8 = iota
	columnWhole
	columnCut
)

// Text is a captured column that holds a text. The zero value is an absent column.
type Text struct {
	text  string
	state uint8
}

// Int is a captured column that holds a whole number. The zero value is an absent column.
type Int struct {
	number  int64
	present bool
}

// Bool is a captured column that holds a truth value. The zero value is an absent column.
type Bool struct {
	value   bool
	present bool
}

// TextOf captures the first limit bytes of a text. They are not copied as long as they are UTF-8: what is no UTF-8 in a
// text that is cut is left out, since it may be half a character, as live mechanisms do (gotap.signals.plan).
func TextOf(text string, limit int) Text {
	if len(text) > limit {
		return cutText(text[:limit])
	}
	return Text{text, columnWhole}
}

func cutText(text string) Text {
	end := len(text)
	for end > 0 && len(text)-end < utf8.UTFMax && !utf8.RuneStart(text[end-1]) {
		end--
	}
	if end > 0 && !utf8.FullRuneInString(text[end-1:]) {
		text = text[:end-1]
	}
	if !utf8.ValidString(text) {
		text = replaceInvalid(text, "")
	}
	return Text{text, columnCut}
}

// IntOf captures a whole number.
func IntOf(number int64) Int { return Int{number, true} }

// BoolOf captures a truth value.
func BoolOf(value bool) Bool { return Bool{value, true} }

// Int is the truth value as a number, for columns whose alternatives are of both kinds.
func (b Bool) Int() Int {
	if b.value {
		return Int{1, b.present}
	}
	return Int{0, b.present}
}

// Value is what a conversion gives: an attribute's value. The zero value says that the operation has no such attribute.
type Value struct {
	text   string
	number int64
	kind   uint8
}

// The kinds of a Value.
const (
	noValue uint8 = iota
	textValue
	intValue
	boolValue
)

// Texts is a conversion's constant that is a list. A nil one stands for the conversion's own.
type Texts []string

func (t Texts) has(text string) bool {
	for _, one := range t {
		if one == text {
			return true
		}
	}
	return false
}

func textOf(text string) Value { return Value{text: text, kind: textValue} }

func intOf(number int64) Value { return Value{number: number, kind: intValue} }

func boolOf(value bool) Value {
	if value {
		return Value{number: 1, kind: boolValue}
	}
	return Value{kind: boolValue}
}

// attribute is the value under its key.
func (v *Value) attribute(key string) attribute {
	switch v.kind {
	case intValue:
		return attribute{key: key, number: uint64(v.number), kind: intKind}
	case boolValue:
		return attribute{key: key, number: uint64(v.number), kind: boolKind}
	}
	return attribute{key: key, text: v.text, kind: textKind}
}

// ellipsis ends the text of an attribute whose value was cut.
const ellipsis = "…"

// valid gives the kept text as UTF-8: what is none is replaced, as live mechanisms do.
func (t Text) valid() string {
	if utf8.ValidString(t.text) {
		return t.text
	}
	return replaceInvalid(t.text, "\uFFFD")
}

// shown is the text as an attribute shows it: with an ellipsis if it was cut.
func (t Text) shown() string {
	if t.state == columnCut {
		return t.valid() + ellipsis
	}
	return t.valid()
}

// some tells whether the text is there and not empty.
func (t Text) some() bool { return t.state != columnAbsent && t.text != "" }

// replaceInvalid replaces what is not UTF-8. Each longest beginning of a character counts as one (Unicode 15, section
// 3.9, U+FFFD Substitution of Maximal Subparts), as in Python and unlike in strings.ToValidUTF8.
func replaceInvalid(text, by string) string {
	var to strings.Builder
	for i := 0; i < len(text); {
		if _, size := utf8.DecodeRuneInString(text[i:]); size > 1 || text[i] < utf8.RuneSelf {
			to.WriteString(text[i : i+size])
			i += size
			continue
		}
		to.WriteString(by)
		i += subpart(text[i:])
	}
	return to.String()
}

// subpart is the length of the longest beginning of a character that text, which does not begin with one, begins with; 1
// where there is none (Unicode 15, table 3-7).
func subpart(text string) int {
	low, high, size := byte(0x80), byte(0xbf), 1
	switch lead := text[0]; {
	case 0xc2 <= lead && lead <= 0xdf:
		size = 2
	case 0xe0 <= lead && lead <= 0xef:
		if size = 3; lead == 0xe0 {
			low = 0xa0
		} else if lead == 0xed {
			high = 0x9f
		}
	case 0xf0 <= lead && lead <= 0xf4:
		if size = 4; lead == 0xf0 {
			low = 0x90
		} else if lead == 0xf4 {
			high = 0x8f
		}
	}
	length := 1
	for length < size && length < len(text) && low <= text[length] && text[length] <= high {
		length++
		low, high = 0x80, 0xbf
	}
	return length
}
