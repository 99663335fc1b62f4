package gotaprt

import (
	"strconv"
	"strings"
)

// GoError is `go_error`: error.type of a Go error, timeout or canceled where the lists say so, else its type's name. An
// entry of the lists is a type's name, a message, or TYPE=NUMBER.
func GoError(typeName, message Text, number Int, timeout, canceled Texts) Value {
	switch {
	case typeName.text == "":
		return Value{}
	case timeout.name(typeName.text, message, number):
		return textOf("timeout")
	case canceled.name(typeName.text, message, number):
		return textOf("canceled")
	}
	return textOf(typeName.valid())
}

func (t Texts) name(typeName string, message Text, number Int) bool {
	for _, entry := range t {
		if entry == typeName || message.state == columnWhole && entry == message.text {
			return true
		}
		if number.present && strings.HasPrefix(entry, typeName) && strings.HasPrefix(entry[len(typeName):], "=") {
			if wanted, err := strconv.ParseInt(entry[len(typeName)+1:], 10, 64); err == nil && wanted == number.number {
				return true
			}
		}
	}
	return false
}
