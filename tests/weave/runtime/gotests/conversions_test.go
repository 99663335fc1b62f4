package gotaprt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
)

// given is an input as conversions.json has it: null, a number, or the bytes of a text and whether it was cut.
type given struct {
	Hex *string
	Cut bool
	Int *int64
}

func (g *given) text() Text {
	if g == nil || g.Hex == nil {
		return Text{}
	}
	kept, err := hex.DecodeString(*g.Hex)
	if err != nil {
		panic(err)
	}
	if g.Cut {
		return TextOf(string(kept)+"more", len(kept))
	}
	return TextOf(string(kept), len(kept))
}

func (g *given) int() Int {
	if g == nil || g.Int == nil {
		return Int{}
	}
	return IntOf(*g.Int)
}

func (g *given) bool() Bool {
	if g == nil || g.Int == nil {
		return Bool{}
	}
	return BoolOf(*g.Int != 0)
}

// converters are the conversions by name, of a file that is made of gotap.weave.runtime.conversions.
var converters = map[string]func(in []*given, with map[string]Texts) Value{}

// TestConversions compares all conversions with what the Python functions give: for the shared vectors, and for random
// inputs.
func TestConversions(t *testing.T) {
	content, err := os.ReadFile("conversions.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name string
		In   []*given
		With map[string]Texts
		Out  any
	}
	reading := json.NewDecoder(bytes.NewReader(content))
	reading.UseNumber()
	if err := reading.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, one := range cases {
		in := append(one.In, make([]*given, 8)...) // what is left out is absent
		got := converters[one.Name](in, one.With)
		if fmt.Sprint(got.plain()) != fmt.Sprint(one.Out) {
			shown, _ := json.Marshal(one)
			t.Errorf("%s: %v", shown, got.plain())
		}
		seen[one.Name]++
	}
	for name := range converters {
		if seen[name] < 3 {
			t.Error("hardly any cases of", name)
		}
	}
}

func (v Value) plain() any {
	switch v.kind {
	case textValue:
		return v.text
	case intValue:
		return v.number
	case boolValue:
		return v.number != 0
	}
	return nil
}

func TestWhatConversionsAllocate(t *testing.T) {
	text := func(text string) Text { return TextOf(text, 128) }
	var values [16]Value
	allocated := testing.AllocsPerRun(100, func() {
		values = [16]Value{
			FromText(text("curl/8.5.0")), HTTPMethod(text("GET"), nil), HTTPMethod(text("get"), nil), HTTPStatus(IntOf(0)),
			HTTPMethodOriginal(text("get"), nil), HTTPVersion(IntOf(1), IntOf(1)), HTTPVersion(IntOf(2), IntOf(0)),
			SchemeFromTLS(BoolOf(true)), RouteOfPattern(text("GET host/users/{id}")), URLPath(text("/a/b")),
			URLQuery(text("a=1&b=%20;c=d"), nil), HostName(text("[::1]:80")), HostPort(text("example.com"), text("https")),
			PeerAddress(text("[2001:db8::1]:99")), PeerPort(text("1.2.3.4:5678")),
			GoError(text("syscall.Errno"), Text{}, IntOf(110), Texts{"*x.y", "syscall.Errno=110"}, nil),
		}
	})
	if allocated != 0 {
		t.Error("allocations:", allocated)
	}
	for i, value := range values {
		if value.kind == noValue {
			t.Error("nothing of number", i)
		}
	}
}

func TestTheUserKnowsMethods(t *testing.T) {
	defer func() { userMethods = nil }()
	userMethods = methodsIn(" GET, PROPFIND,,")
	for method, want := range map[string]string{"PROPFIND": "PROPFIND", "GET": "GET", "POST": "_OTHER", "": "GET"} {
		if got := HTTPMethod(TextOf(method, 32), Texts{"POST"}); got.text != want {
			t.Errorf("%s: %s", method, got.text)
		}
	}
	if methodsIn("") != nil || methodsIn(",") == nil {
		t.Error("an empty list is one, and nothing is none")
	}
}

func TestTypesAreCalledAsInMemory(t *testing.T) {
	type local struct{}
	for want, value := range map[string]any{
		"":                        nil,
		"*net/url.Error":          &url.Error{},
		"string":                  "",
		"[]*io/fs.PathError":      []*fs.PathError{},
		"map[string][3]net/url.U": nil,
		"gotaprt.local":           local{},
		"*struct {}":              &struct{}{},
	} {
		if got := TypeOf(value); value != nil && got.text != want || got.state != columnWhole {
			t.Errorf("%s: %s", want, got.text)
		}
	}
	for path, want := range map[string]string{
		"main": "main", "gopkg.in/yaml.v3": "gopkg.in/yaml%2ev3", "a.b/c d/é%": "a.b/c%20d/%c3%a9%25", "x.y": "x%2ey",
	} {
		if got := escapePath(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

type endless struct{ error }

func TestUnwrap(t *testing.T) {
	inner := errors.New("inner")
	for _, one := range []struct{ err, want error }{
		{nil, nil},
		{inner, inner},
		{&url.Error{Err: &net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}, syscall.ECONNREFUSED},
		{fmt.Errorf("x: %w", &fs.PathError{Err: inner}), inner},
		{endless{inner}, endless{inner}}, // no wrapper of the catalogue's
	} {
		if got := Unwrap(one.err); got != one.want {
			t.Errorf("%v: %v", one.err, got)
		}
	}
	broken := &net.OpError{Op: "dial"}
	if got := Unwrap(broken); got != error(broken) {
		t.Error("what wraps nothing counts itself:", got)
	}
	var none *url.Error
	if got := Unwrap(none); got != error(none) {
		t.Error("a nil pointer:", got)
	}
	loop := &url.Error{}
	loop.Err = loop
	if Unwrap(loop) != error(loop) {
		t.Error("an error that wraps itself")
	}
}

type outer struct {
	*url.Error
	hidden error
	number int
}

func TestField(t *testing.T) {
	if got, ok := Field(errors.New("text"), "*errors.errorString", "s"); !ok || got != "text" {
		t.Error("behind a pointer:", got, ok)
	}
	if got, ok := Field(outer{number: 7}, "gotaprt.outer", "number"); !ok || got != 7 {
		t.Error("of a value:", got, ok)
	}
	if got, ok := Field(&outer{hidden: syscall.ENOENT}, "*gotaprt.outer", "hidden"); !ok || got != syscall.ENOENT {
		t.Error("an interface:", got, ok)
	}
	var none *outer
	for _, one := range []struct {
		value       any
		name, field string
	}{
		{nil, "string", "s"}, {none, "*gotaprt.outer", "number"}, {outer{}, "gotaprt.outer", "Op"}, {outer{}, "gotaprt.outer", "x"},
		{outer{}, "*gotaprt.outer", "number"}, {"text", "string", "s"},
	} {
		if got, ok := Field(one.value, one.name, one.field); ok || got != nil {
			t.Error(one, "gives", got)
		}
	}
}

func TestTextsAreValid(t *testing.T) {
	for text, want := range map[string]string{
		"plain é": "plain é", "\xff\xfe": "��", "a\xe2\x82": "a�", "\xe2\x28": "�(", "\xed\xa0\x80": "���",
		"\xf0\x9f\x98x": "�x", "\xf4\x90\x80\x80": "����", "\xc0\xaf": "��",
	} {
		if got := TextOf(text, 100).shown(); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := TextOf("aé", 2).shown(); got != "a…" {
		t.Errorf("cut inside a character: %q", got)
	}
	if FromText(Text{}).kind != noValue || FromText(TextOf("", 9)).kind != noValue {
		t.Error("nothing is something")
	}
}
