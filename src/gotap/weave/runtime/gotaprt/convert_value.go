package gotaprt

// The conversions of gotap.probe.convert, which says what each one does. They make attributes of captured columns, and
// pass the vectors of tests/probe/conversion_vectors.yaml. Inputs come first, then constants.

// FromText is `text`: the text as it is, absent when empty.
func FromText(text Text) Value {
	if !text.some() {
		return Value{}
	}
	return textOf(text.shown())
}

// FromInt is `int`: the number as it is.
func FromInt(number Int) Value {
	if !number.present {
		return Value{}
	}
	return intOf(number.number)
}

// FromBool is `bool`: the truth value as it is.
func FromBool(value Bool) Value {
	if !value.present {
		return Value{}
	}
	return boolOf(value.value)
}
