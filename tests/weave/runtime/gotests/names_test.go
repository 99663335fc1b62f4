package gotaprt

import "testing"

// As gotap.signals.decode has it: `{a|X=Y} {b,c}`.
func TestTheFirstThatIsPresentNamesASpan(t *testing.T) {
	class := &Class{SpanName: []Part{{Key: 0, Instead: map[string]string{"X": "Y"}}, {Text: " "}, {Key: 1, Else: []int{2, 3}}}}
	text := func(s string) Value { return Value{kind: textValue, text: s} }
	for _, one := range []struct {
		values []Value
		name   string
	}{
		{[]Value{text("X"), text("b"), text("c"), {}}, "Y b"},
		{[]Value{text("X"), {}, text("c"), text("d")}, "Y c"},
		{[]Value{{}, {}, {}, text("d")}, "d"},
		{[]Value{text("X"), {}, {}, {}}, "Y"},
		{[]Value{text("X")}, "Y"},
		{nil, ""},
	} {
		if name := class.spanName(one.values); name != one.name {
			t.Errorf("%v: %q, want %q", one.values, name, one.name)
		}
	}
}
