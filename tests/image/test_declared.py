"""Declared types: the grammar and the layout rules, and the catalogue-like declarations against real builds."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gobuild import NEWEST, every_version
from gotap.image.containers.elf import Elf
from gotap.image.facts.goversion import GoVersion
from gotap.image.types.declared import DeclaredTypes, UndeclaredType, mismatches
from gotap.image.types.dwarf import DwarfTypes
from gotap.image.types.gotypes import Kind, Type
from gotap.image.types.typetext import TypeSyntaxError, parse_type
from typezoo import seen_as, typezoo


@dataclass(frozen=True)
class Declaration:
    text: str
    package: str = "main"
    since: str = "1.18"
    before: str = ""


def version(text: str) -> GoVersion:
    parsed = GoVersion.parse("go" + text)
    assert parsed is not None
    return parsed


def declared(*texts: str, go: str = NEWEST) -> DeclaredTypes:
    return DeclaredTypes([Declaration(text) for text in texts], version(go))


def type_of(name: str, types: DeclaredTypes) -> Type:
    found = types.lookup(name)
    assert found is not None, name
    return found


def layout(type_: Type) -> list[tuple[str, int]]:
    return [(field.name, field.offset) for field in type_.fields]


#: tests/programs/typezoo, main.go, as declarations.
ZOO = """
type Inner struct {
	A int8
	B string
}
type Shape struct { Name string; sides int }
type header map[string][]string
type empty struct{}
type big [200]byte
type closer interface {
	Close() error
	quiet(int, ...string) (bool, error)
}
type Zoo struct {
	Inner
	*strings.Builder
	io.Reader
	Bool   bool
	I8     int8 // one byte
	I64    int64
	U16    uint16
	Ptr    uintptr
	F32    float32
	C64    complex64
	C128   complex128
	S      string
	P      **Inner
	U      unsafe.Pointer
	Array  [3]uint16
	One    [1]float64
	Slice  []Inner
	Map    map[string]*Inner
	Nested map[[2]int]map[string]interface{}
	Bigs   map[big]big
	Header header
	Any    any
	Err    error
	Closer closer
	Iface  interface {
		Foo(a int) string
		main.bar(*Inner)
	}
	Func  func(n int, rest ...string) (bool, error)
	Both  chan int
	Recv  <-chan Inner
	Send  chan<- *Zoo
	Chans chan (<-chan int)
	Anon  struct {
		x int
		Y string `json:"y"`
	}
}
"""


@pytest.mark.parametrize("go", every_version())
def test_a_whole_declaration_agrees_with_dwarf(go: str) -> None:
    dwarf = DwarfTypes(Elf.open(typezoo(go).path))
    types = DeclaredTypes([Declaration(ZOO)], version(go), others=dwarf)
    for name in ("main.Inner", "main.header", "main.empty", "main.big", "main.closer"):
        actual = dwarf.lookup(name)
        assert actual is not None
        assert seen_as(type_of(name, types)) == seen_as(actual)
        assert mismatches(type_of(name, types), actual) == []
    mine, actual = type_of("main.Zoo", types), dwarf.lookup("main.Zoo")
    assert actual is not None
    assert mismatches(mine, actual) == []
    assert layout(mine) == layout(actual)[: len(mine.fields)]
    differing = [
        (m.type.get().name, a.type.get().name)
        for m, a in zip(mine.fields, actual.fields, strict=False)
        if m.type.get().name != a.type.get().name
    ]
    # DWARF writes the package of unexported members and the tags of a struct's fields.
    assert [m for m, _ in differing] == ["struct { x int; Y string }"]


@pytest.mark.parametrize("go", every_version())
def test_the_runtime_as_it_is_in_every_version(go: str) -> None:
    """Offsets read in runtime/runtime2.go; a declaration per range, and the wrong ones for this version do not fit."""
    ranges = [
        ("1.18", "1.23", "type g struct { stack stack; _ [32]byte; m *m; _ [96]byte; goid uint64 }"),
        ("1.23", "1.25", "type g struct { stack stack; _ [32]byte; m *m; _ [104]byte; goid uint64 }"),
        ("1.25", "", "type g struct { stack stack; _ [32]byte; m *m; _ [96]byte; goid uint64 }"),
        ("1.18", "1.26", "type _panic struct { argp uintptr; arg any; link *_panic }"),
        ("1.26", "", "type _panic struct { arg any; link *_panic }"),
        ("1.18", "", "type stack struct { lo, hi uintptr }"),
    ]
    dwarf = DwarfTypes(Elf.open(typezoo(go).path))
    valid = DeclaredTypes([Declaration(text, "runtime", since, before) for since, before, text in ranges], version(go))
    for name in ("runtime.g", "runtime._panic", "runtime.stack"):
        actual = dwarf.lookup(name)
        assert actual is not None
        assert mismatches(type_of(name, valid), actual) == []


def test_mismatches_say_what_is_wrong() -> None:
    types = declared(
        "type real struct { a int; p *real; s string; in inner; e error }; type inner struct { x int32; y int32 }"
    )
    real = type_of("main.real", types)
    wrong = {
        "type w struct { a int; q int }": "main.w.q: main.real has no such field",
        "type w struct { p *w }": "main.w.p: offset 0 declared, is 8",
        "type w struct { a int32 }": "main.w.a: 4 bytes declared, int has 8",
        "type w struct { a float64 }": "main.w.a: float declared, int is int",
        "type w struct { _ [16]byte; s string; in struct { x int32; z int32 } }": (
            "main.w.in.z: main.inner has no such field"
        ),
        "type w struct { _ [40]byte; e any }": "main.w.e: declared without methods, error has some",
        "type w string": "main.w: string declared, main.real is struct",
    }
    for text, complaint in wrong.items():
        assert mismatches(type_of("main.w", declared(text)), real) == [complaint]
    # An integer stands for a pointer that is not followed.
    assert mismatches(type_of("main.w", declared("type w struct { a, p uintptr }")), real) == []


def test_layout_rules() -> None:
    types = declared(
        "type a struct { x byte; y int16; z byte; w int64; v [0]int64 }; type b struct { a; c [3]a }; type n struct{}"
    )
    a = type_of("main.a", types)
    # The zero-sized last field gets a byte, so that its address is inside; the size is rounded up to the alignment.
    assert layout(a) == [("x", 0), ("y", 2), ("z", 4), ("w", 8), ("v", 16)]
    assert a.size == 24
    b = type_of("main.b", types)
    assert (layout(b), b.size, b.fields[0].embedded) == ([("a", 0), ("c", 24)], 96, True)
    assert type_of("main.n", types).size == 0


def test_names_are_canonical() -> None:
    names = {
        "[]byte": "[]uint8",
        "map[rune]any": "map[int32]interface {}",
        "func(a, b int, c ...string) (x error)": "func(int, int, ...string) error",
        "func(context.Context) (n int, err error)": "func(context.Context) (int, error)",
        "chan (<-chan net/http.Request)": "chan (<-chan net/http.Request)",
        "chan<- *T": "chan<- *pkg.T",
        "struct{ a, b int; io.Reader; *T }": "struct { a int; b int; io.Reader; *pkg.T }",
        "interface{ Foo(int) string; Bar() }": "interface { Foo(int) string; Bar() }",
        "*github.com/go-redis/redis/v8.Client": "*github.com/go-redis/redis/v8.Client",
    }
    for text, name in names.items():
        assert parse_type(text, "pkg").name == name


@pytest.mark.parametrize(
    "text",
    ["type", "type x", "type x struct {", "type x struct { a }}", "type x [n]int", "type x struct { a int b int }",
     "type x map[int", "x struct {}", "type x func(", "type x #", "type x struct { []int }"],
)  # fmt: skip
def test_what_is_no_declaration_is_told(text: str) -> None:
    with pytest.raises(TypeSyntaxError, match="cannot read the Go type"):
        declared(text)


def test_versions() -> None:
    declarations = [
        Declaration("type t struct { a int32 }", before="1.21"),
        Declaration("type t struct { a int64 }", since="1.21", before="1.27"),
    ]
    sizes = {}
    for go in ("1.18.10", "1.20.14", "1.21.0", "1.26.8", "1.27.4"):
        found = DeclaredTypes(declarations, version(go)).lookup("main.t")
        sizes[go] = found.size if found is not None else None
    assert sizes == {"1.18.10": 4, "1.20.14": 4, "1.21.0": 8, "1.26.8": 8, "1.27.4": None}


def test_undeclared_types_matter_only_by_value() -> None:
    types = declared("type t struct { p *nowhere }; type u struct { v nowhere }")
    pointer = type_of("main.t", types).fields[0].type.get()
    assert (pointer.kind, pointer.name) == (Kind.POINTER, "*main.nowhere")
    assert pointer.elem is not None
    with pytest.raises(UndeclaredType, match=r"main\.nowhere"):
        pointer.elem.get()
    with pytest.raises(UndeclaredType, match=r"main\.nowhere"):
        types.lookup("main.u")
    assert types.lookup("main.nowhere") is None
    assert types.lookup("not a type") is None
    assert type_of("map[string]*main.t", types).kind is Kind.MAP
