package gotaprt

import (
	"strings"
	"testing"
	"unsafe"
)

// TestMemo asks for one query in all that its result depends on, again and again: each answer is that of its own inputs.
func TestMemo(t *testing.T) {
	mysql, postgres := Text{"*example.com/my.Driver", columnWhole}, Text{"*example.com/pg.Driver", columnWhole}
	systems := Texts{"example.com/my=mysql", "example.com/pg=postgresql"}
	dialects := Texts{"mysql=backslash hash strings", "postgresql=nested"}
	query := Text{`SELECT "a" FROM t`, columnWhole}
	cut := Text{query.text, columnCut}
	for i := 0; i < 3; i++ {
		for _, one := range []struct {
			query, driver     Text
			systems, dialects Texts
			want              string
		}{
			{query, mysql, systems, dialects, "SELECT ? FROM t"},
			{query, postgres, systems, dialects, query.text},
			{query, postgres, systems, nil, "SELECT ? FROM t"}, // nobody knows what quotes mean
			{query, postgres, nil, dialects, "SELECT ? FROM t"},
			{cut, postgres, systems, dialects, query.text + ellipsis},
		} {
			if got := SQLText(one.query, one.driver, one.systems, one.dialects); got.text != one.want {
				t.Errorf("round %d: SQLText(%v, %v) = %q, not %q", i, one.query, one.driver, got.text, one.want)
			}
		}
		if got := DBSystem(mysql, systems); got.text != "mysql" {
			t.Errorf("DBSystem gives %q", got.text)
		}
	}
}

// TestMemoKeepsNothingLarge: what is remembered of a part of a large text is a copy of the part.
func TestMemoKeepsNothingLarge(t *testing.T) {
	large := strings.Repeat("SELECT 1 FROM t ", 100)
	var m memo
	m.of(Text{large[:16], columnWhole}, Text{}, nil, nil, func(query, _ Text, _, _ Texts) string { return "" })
	for i := range m.places {
		if known := m.places[i].Load(); known != nil && unsafe.StringData(known.query.text) == unsafe.StringData(large) {
			t.Error("it refers to the large text")
		}
	}
}

// TestMemoFinds asks twice and has it made once; another text makes it forget, and never gives the wrong one.
func TestMemoFinds(t *testing.T) {
	var m memo
	made := 0
	upper := func(query, _ Text, _, _ Texts) string { made++; return strings.ToUpper(query.text) }
	for i := 0; i < 2000; i++ {
		text := Text{"select " + strings.Repeat("x", i%1000), columnWhole}
		for j := 0; j < 2; j++ {
			if got := m.of(text, Text{}, nil, nil, upper); got != strings.ToUpper(text.text) {
				t.Fatalf("%q gives %q", text.text, got)
			}
		}
	}
	if made > 2000 {
		t.Errorf("made %d times of 4000", made)
	}
}

// TestNamesOfSpansAreShared: a name that an earlier span of the class has is not made again.
func TestNamesOfSpansAreShared(t *testing.T) {
	c := &Class{SpanName: []Part{{Key: 0}, {Text: " "}, {Key: 1}}, Attributes: []string{"method", "route"}}
	values := []Value{textOf("GET"), textOf("/books/{id}")}
	if name := c.spanName(values); name != "GET /books/{id}" {
		t.Fatal(name)
	}
	if allocations := testing.AllocsPerRun(100, func() { c.spanName(values) }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
	if name := c.spanName(values[:1]); name != "GET" {
		t.Error(name)
	}
}
