"""Shapes against what the garbage collector knows: the bitmap of pointers that each type's descriptor carries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from gobuild import build, every_version
from gotap.image.image import Image
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.image.types.rtype import RuntimeTypes
from gotap.probe.catalogue import runtime
from gotap.probe.script.limits import Limits
from gotap.probe.shapes import Shapes
from gotap.probe.shapes_table import HeadFlags, PointerFlags, What
from gotap.probe.sources import types_of
from gotap.probe.typing import Types, pointer_shaped

#: Of an interface the collector follows the data word only: itabs and descriptors are not on the heap.
_SECOND = frozenset({What.IFACE, What.EFACE})
_TFLAG_ON_DEMAND = 1 << 4  # the bitmap is made at run time (Go 1.24 on); a program before
_KIND_GC_PROGRAM = 1 << 6


class Binary:
    """One executable, its types and all shapes."""

    def __init__(self, image: Image, limits: Limits = Limits()) -> None:  # noqa: B008
        self.image = image
        self.types: Types = types_of(image, runtime())
        assert isinstance(self.types.descriptors, RuntimeTypes)
        self.runtime = self.types.descriptors
        self.shapes = Shapes(self.types, image, limits)
        self.shapes.number(self.types.resolve("error"))
        self.heads, self.pointers = self.shapes.table()

    def rows(self, number: int) -> NDArray[np.void]:
        head = self.heads[number]
        return self.pointers[int(head["first"]) : int(head["first"]) + int(head["count"])]

    def words(self, number: int) -> Iterator[int]:
        """Numbers of the words with pointers of a value of that shape."""
        for one in self.rows(number):
            offset, what = int(one["offset"]), What(int(one["what"]))
            if what is What.INLINE:
                size = int(self.heads[int(one["target"])]["size"])
                inner = list(self.words(int(one["target"])))
                for index in range(int(one["extra"])):
                    yield from (word + (offset + index * size) // 8 for word in inner)
            else:
                yield offset // 8 + (what in _SECOND)


def unsafe_words(type: Type, offset: int = 0) -> Iterator[int]:
    """Words of a value that are unsafe.Pointers."""
    if type.kind is Kind.UNSAFE_POINTER:
        yield offset // 8
    elif type.kind is Kind.STRUCT:
        for field in type.fields:
            yield from unsafe_words(field.type.get(), offset + field.offset)
    elif type.kind is Kind.ARRAY and type.elem is not None:
        elem = type.elem.get()
        inner = list(unsafe_words(elem)) if type.count else []
        for index in range(type.count if inner else 0):
            yield from (word + (offset + index * elem.size) // 8 for word in inner)


@pytest.mark.parametrize("mode", ["plain", "pie_stripped"])
@pytest.mark.parametrize("go", every_version())
def test_shapes_have_the_pointers_that_the_collector_follows(go: str, mode: str) -> None:
    binary = Binary(Image.open(build("httpserver", go, mode=mode)))
    descriptors = binary.runtime.descriptors
    compared = 0
    for number, offset in enumerate(binary.runtime.index.everything().tolist(), 1):
        address = descriptors.base + offset
        size, pointer_bytes = descriptors.word(address), descriptors.word(address + 8)
        flags = descriptors.word(address + 16) >> 32
        tflag, kind = flags & 0xFF, flags >> 24 & 0xFF
        found = set(binary.words(number))
        assert int(binary.heads[number]["size"]) == size
        if pointer_bytes == 0:
            assert not found or is_bucket(binary, address)
            continue
        if (tflag if binary.image.go_version.at_least(1, 24) else 0) & _TFLAG_ON_DEMAND:
            continue
        if kind & _KIND_GC_PROGRAM and not binary.image.go_version.at_least(1, 24):
            continue
        bitmap = binary.image.elf.read(descriptors.word(address + 32), -(-pointer_bytes // 64))
        followed = {word for word in range(pointer_bytes // 8) if bitmap[word // 8] >> word % 8 & 1}
        missing, extra = followed - found, found - followed
        type = binary.runtime.at(address)
        if is_bucket(binary, address):
            extra -= {size // 8 - 1}
            assert {size // 8 - 1} <= found
        assert not extra, type.name
        assert missing <= set(unsafe_words(type)) | opaque(binary, type), type.name
        compared += 1
    assert compared > 1000


def is_bucket(binary: Binary, address: int) -> bool:
    return "map.bucket[" in binary.runtime.descriptors.header(address).text


def opaque(binary: Binary, type: Type) -> set[int]:
    """Words of pointers that shapes leave out on purpose, or to what has no size or no descriptor."""
    return set(_left_out(binary, type, 0))


def _left_out(binary: Binary, type: Type, offset: int) -> Iterator[int]:
    elem = type.elem.get() if type.elem is not None else None
    if type.name == "time.Location":
        yield from range(offset // 8, (offset + type.size) // 8)
    elif type.kind in (Kind.POINTER, Kind.SLICE):
        assert elem is not None
        if elem.size == 0 or elem.name in (
            "internal/abi.Type", "internal/abi.ITab", "reflect.rtype", "runtime._type", "runtime.itab",
        ):  # fmt: skip
            yield offset // 8
    elif type.kind is Kind.STRUCT:
        for field in type.fields:
            yield from _left_out(binary, field.type.get(), offset + field.offset)
    elif type.kind is Kind.ARRAY and elem is not None and type.count:
        inner = list(_left_out(binary, elem, 0))
        for index in range(type.count if inner else 0):
            yield from (word + (offset + index * elem.size) // 8 for word in inner)


@pytest.mark.parametrize("go", every_version())
def test_shapes_of_each_kind(go: str) -> None:
    """Rows of some types of net/http, by hand."""
    binary = Binary(Image.open(build("httpserver", go)))
    resolve = binary.types.resolve

    def rows(name: str) -> list[tuple[int, What]]:
        return [(int(one["offset"]), What(int(one["what"]))) for one in binary.rows(number(name))]

    def number(name: str) -> int:
        return binary.shapes.number(resolve(name))

    assert rows("net/http.Cookie")[:2] == [(0, What.STRING), (16, What.STRING)]
    assert rows("error") == [(0, What.IFACE)]
    assert rows("interface {}") == [(0, What.EFACE)]
    assert rows("[]string") == [(0, What.SLICE)]
    [header] = binary.rows(number("net/http.Header"))
    head = int(header["target"])
    assert int(binary.heads[head]["size"]) == 48
    swiss = binary.image.go_version.at_least(1, 24)
    kinds = [What(int(one["what"])) for one in binary.rows(head)]
    assert kinds == ([What.DIRECTORY] if swiss else [What.BUCKETS, What.OLD_BUCKETS])
    assert number("int") == 0
    request = {int(one["offset"]): one for one in binary.rows(number("net/http.Request"))}
    fields = {field.name: field for field in resolve("net/http.Request").fields}
    context = request[fields["ctx"].offset]
    assert context["what"] == What.IFACE
    assert context["flags"] == PointerFlags.CHAIN
    url = request[fields["URL"].offset]
    assert (url["what"], url["target"]) == (What.POINTER, number("net/url.URL"))
    time = {field.name: field for field in resolve("time.Time").fields}
    [location] = binary.rows(number("time.Time"))
    assert (location["offset"], location["flags"]) == (time["loc"].offset, PointerFlags.FREE)
    zone = {field.name: field for field in resolve("time.Location").fields}
    assert rows("time.Location") == [(zone["name"].offset, What.STRING), (zone["cacheZone"].offset, What.POINTER)]


@pytest.mark.parametrize("go", every_version())
def test_which_types_interfaces_hold_themselves(go: str) -> None:
    """cmd/compile/internal/types, IsDirectIface: from Go 1.26 all that are one pointer of the heap, before by kind."""
    binary = Binary(Image.open(build("httpserver", go)))
    base = binary.runtime.descriptors.base
    for number, offset in enumerate(binary.runtime.index.everything().tolist(), 1):
        type = binary.runtime.at(base + offset)
        direct = bool(binary.heads[number]["flags"] & HeadFlags.DIRECT)
        on_heap = binary.runtime.descriptors.word(base + offset + 8) == 8
        alike = type.size == 8 if binary.image.go_version.at_least(1, 26) else pointer_shaped(type)
        assert direct == (alike and on_heap), type.name


def test_descriptors_are_found_by_address() -> None:
    binary = Binary(Image.open(build("httpserver")))
    dynamic = binary.shapes.dynamic
    for name in ("*errors.errorString", "net/url.URL", "*net.OpError", "string"):
        address = binary.runtime.lookup(name)
        assert address is not None
        place, rest = divmod(address.address - dynamic.first, 8)
        assert rest == 0
        assert int(dynamic.numbers[place]) == binary.shapes.number(address)


def test_no_descriptors_are_told_when_no_interface_can_be_met() -> None:
    image = Image.open(build("httpserver"))
    shapes = Shapes(types_of(image, runtime()), image, Limits())
    types = types_of(image, runtime())
    for name in ("string", "[]string", "net/http.Header", "*net/http.Cookie"):
        shapes.number(types.resolve(name))
    assert len(shapes.dynamic.numbers) == 0
    shapes.number(types.resolve("*net/http.Request"))
    assert len(shapes.dynamic.numbers) > 1000


def test_arrays_are_taken_as_far_as_elements_are() -> None:
    binary = Binary(Image.open(build("httpserver")), Limits(text=10, elements=3))
    for offset in binary.runtime.index.everything().tolist():
        type = binary.runtime.at(binary.runtime.descriptors.base + offset)
        if type.kind is Kind.ARRAY and type.elem is not None:
            number = binary.runtime.index.everything().tolist().index(offset) + 1
            size = type.elem.get().size
            assert int(binary.heads[number]["kept"]) == min(type.size, size * (10 if size == 1 else 3))


def test_types_without_descriptors() -> None:
    """As DWARF and declarations tell them; those within them that have descriptors keep their numbers."""
    binary = Binary(Image.open(build("httpserver")))
    text, url = TypeRef(binary.types.resolve("string")), TypeRef(binary.types.resolve("*net/url.URL"))
    inner = Type("main.inner", Kind.STRUCT, 24, (Field("s", 0, text), Field("u", 16, url)))
    fields = (
        Field("n", 0, TypeRef(binary.types.resolve("int"))),
        Field("a", 8, TypeRef(Type("[2]main.inner", Kind.ARRAY, 48, elem=TypeRef(inner), count=2))),
        Field("p", 56, TypeRef(Type("*main.inner", Kind.POINTER, 8, elem=TypeRef(inner)))),
        Field("e", 64, TypeRef(binary.types.resolve("error"))),
        Field("s", 80, TypeRef(Type("[]main.inner", Kind.SLICE, 24, elem=TypeRef(inner)))),
        Field("c", 104, TypeRef(Type("chan main.inner", Kind.CHAN, 8, elem=TypeRef(inner)))),
        Field("f", 112, TypeRef(Type("func()", Kind.FUNC, 8))),
    )
    number = binary.shapes.number(Type("main.outer", Kind.STRUCT, 120, fields))
    binary.heads, binary.pointers = binary.shapes.table()
    rows = binary.rows(number)
    assert [(int(one["offset"]), int(one["what"])) for one in rows] == [
        (8, What.INLINE), (56, What.POINTER), (64, What.IFACE), (80, What.SLICE), (104, What.POINTER), (112, What.FUNC),
    ]  # fmt: skip
    assert rows[0]["extra"] == 2
    [first, second] = binary.rows(int(rows[0]["target"]))
    assert (first["what"], second["offset"]) == (What.STRING, 16)
    pointed = binary.rows(binary.shapes.number(binary.types.resolve("*net/url.URL")))[0]
    assert second["target"] == pointed["target"]
    assert rows[1]["target"] == rows[3]["target"] == rows[0]["target"]


def test_a_recursive_type_without_descriptor() -> None:
    binary = Binary(Image.open(build("httpserver")))
    holder: list[Type] = []
    pointer = Type("*main.node", Kind.POINTER, 8, elem=TypeRef(lambda: holder[0]))
    holder.append(Type("main.node", Kind.STRUCT, 16, (Field("next", 8, TypeRef(pointer)),)))
    number = binary.shapes.number(holder[0])
    binary.heads, binary.pointers = binary.shapes.table()
    [following] = binary.rows(number)
    assert following["target"] == number


def test_what_was_forgotten_is_made_again() -> None:
    binary = Binary(Image.open(build("httpserver")))
    before = binary.shapes.table(), binary.shapes.dynamic
    binary.shapes.forget()
    after = binary.shapes.table(), binary.shapes.dynamic
    assert all(one.tobytes() == other.tobytes() for one, other in zip(before[0], after[0], strict=True))
    assert before[1].first == after[1].first
    assert (before[1].numbers == after[1].numbers).all()
