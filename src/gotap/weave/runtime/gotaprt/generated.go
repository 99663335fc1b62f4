package gotaprt

import (
	"reflect"
	"unsafe"
)

// Active tells whether operations are looked at at all: not if the program's settings disable everything.
func Active() bool { return !inert }

// End ends the innermost operation of this name that this goroutine has begun, at one of the places where the catalogue
// lets it end. Its own class knows how: that of the package in which it was begun, which may be another. panicked is what
// the function that ends it has recovered. Without such an operation nothing happens.
func (c *Class) End(place int, panicked any) {
	s := current()
	if s == nil {
		return
	}
	for id := goroutineID(); s != nil && s.goroutine == id; s = s.previous.load() {
		if op := s.operation.load(); op != nil && op.class.is(c) {
			if at := op.class.At; at != nil {
				s.capturing.Lock()
				at(op, place, panicked)
				s.capturing.Unlock()
			}
			return
		}
	}
}

// Unwind looks, where a function that has begun the operation returns, whether a panic leaves it. The address is that of
// a variable of the function's own: it lies in the function's frame.
func (op *Operation) Unwind(own unsafe.Pointer) {
	op.unwound = panicking != nil && panicking(uintptr(own))
}

// Panicked is the error.type of an operation that ends by a panic, else the one given.
func (op *Operation) Panicked(otherwise Value) Value {
	if op.unwound {
		return textOf(panicType)
	}
	return otherwise
}

// Of tells whether the operation is of this very class, and so in a struct of its package's.
func (op *Operation) Of(c *Class) bool { return op.class == c }

// A note is a column for an operation that another package has begun.
type note struct {
	column string
	text   Text
}

// Note captures a column of an operation of another package's class.
func (op *Operation) Note(column string, text Text) {
	op.notes = append(op.notes, note{column, text})
}

// Noted gives what was captured last for a column in another package; absent if nothing was.
func (op *Operation) Noted(column string) (text Text) {
	for _, one := range op.notes {
		if one.column == column {
			text = one.text
		}
	}
	return text
}

// Is gives the address of an interface's value if that is of the type with this name: for a pointer what it points to.
// It is for types that the asking package cannot name.
func Is(value any, name string) (unsafe.Pointer, bool) {
	t := reflect.TypeOf(value)
	if t == nil || typeName(t) != name {
		return nil, false
	}
	// The second word of an interface is a pointer, or the address of any other value of a basic type
	// (runtime/runtime2.go, eface; internal/abi, KindDirectIface; Go 1.21 to 1.27).
	data := (*[2]unsafe.Pointer)(unsafe.Pointer(&value))[1]
	return data, data != nil
}

// FoundText is a column of what Field has found, absent unless that is a text.
func FoundText(found any, limit int) Text {
	if v := reflect.ValueOf(found); v.Kind() == reflect.String {
		return TextOf(v.String(), limit)
	}
	return Text{}
}

// FoundInt is a column of what Field has found, absent unless that is a whole number.
func FoundInt(found any) Int {
	switch v := reflect.ValueOf(found); {
	case v.CanInt():
		return IntOf(v.Int())
	case v.CanUint():
		return IntOf(int64(v.Uint()))
	}
	return Int{}
}
