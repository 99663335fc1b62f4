"""Debug information as Go's linker writes it, for one package of a few types and two functions; DWARF 4 and 5."""

from __future__ import annotations

from tiny_bytes import Bytes

_ADDR, _BLOCK1, _DATA1, _FLAG, _STRING, _UDATA, _REF_ADDR, _SEC_OFFSET, _EXPRLOC, _ADDRX = (
    0x01, 0x0A, 0x0B, 0x0C, 0x08, 0x0F, 0x10, 0x17, 0x18, 0x1B)  # fmt: skip
_NAME, _TYPE, _KIND, _ELEM, _KEY = 0x03, 0x49, 0x2900, 0x2902, 0x2901
_LOW_PC, _HIGH_PC, _FRAME_BASE, _LOCATION, _ORIGIN, _RESULT = 0x11, 0x12, 0x40, 0x02, 0x31, 0x4B

#: Code → (tag, children, attributes and their forms).
_ABBREVIATIONS: dict[int, tuple[int, bool, tuple[tuple[int, int], ...]]] = {
    1: (0x11, True, ((_NAME, _STRING), (0x13, _DATA1), (_LOW_PC, _ADDR))),
    2: (0x24, False, ((_NAME, _STRING), (0x3E, _DATA1), (0x0B, _DATA1), (_KIND, _DATA1), (0x2904, _ADDR))),
    3: (0x0F, False, ((_NAME, _STRING), (_TYPE, _REF_ADDR), (_KIND, _DATA1))),
    4: (0x13, True, ((_NAME, _STRING), (0x0B, _UDATA), (_KIND, _DATA1))),
    5: (0x0D, False, ((_NAME, _STRING), (0x38, _UDATA), (_TYPE, _REF_ADDR), (0x2903, _FLAG))),
    6: (0x2E, True, ((_NAME, _STRING), (_LOW_PC, _ADDR), (_HIGH_PC, _ADDR), (_FRAME_BASE, _BLOCK1))),
    7: (0x05, False, ((_NAME, _STRING), (_RESULT, _FLAG), (_TYPE, _REF_ADDR), (_LOCATION, _SEC_OFFSET))),
    8: (0x16, False, ((_NAME, _STRING), (_TYPE, _REF_ADDR))),
    9: (0x34, False, ((_NAME, _STRING), (_LOCATION, _BLOCK1), (_TYPE, _REF_ADDR))),
    10: (0x13, False, ((_NAME, _STRING), (0x0B, _UDATA), (_KIND, _DATA1), (_ELEM, _REF_ADDR))),
    11: (0x01, True, ((_NAME, _STRING), (0x0B, _UDATA), (_TYPE, _REF_ADDR), (_KIND, _DATA1))),
    12: (0x21, False, ((_TYPE, _REF_ADDR), (0x37, _UDATA))),
    13: (0x2E, True, ((_NAME, _STRING), (0x20, _DATA1))),
    14: (0x05, False, ((_NAME, _STRING), (_RESULT, _FLAG), (_TYPE, _REF_ADDR))),
    15: (0x2E, True, ((_ORIGIN, _REF_ADDR), (_LOW_PC, _ADDR), (_HIGH_PC, _ADDR), (_FRAME_BASE, _BLOCK1))),
    16: (0x05, False, ((_ORIGIN, _REF_ADDR), (_LOCATION, _EXPRLOC))),
    17: (0x16, False, ((_NAME, _STRING), (_TYPE, _REF_ADDR), (_KIND, _DATA1), (_KEY, _REF_ADDR), (_ELEM, _REF_ADDR))),
    18: (0x11, True, ((_NAME, _STRING), (0x13, _DATA1), (_LOW_PC, _ADDRX), (0x73, _SEC_OFFSET))),
}
_CODE = 0x401000


def debug_sections(version: int) -> dict[str, bytes]:
    """`.debug_info`, `.debug_abbrev`, location lists and, in version 5, addresses."""
    sections = {".debug_info": _info(version), ".debug_abbrev": _abbreviations()}
    if version >= 5:
        lists = bytes((4, 0, 16, 1, 0x50, 8)) + (0x1000).to_bytes(8, "little") + bytes((2, 1, 0x51, 0))
        return {**sections, ".debug_loclists": lists, ".debug_addr": bytes(8) + _CODE.to_bytes(8, "little")}
    words = b"".join(number.to_bytes(8, "little") for number in (0, 16))
    return {**sections, ".debug_loc": words + b"\1\0\x50" + bytes(16)}


def _abbreviations() -> bytes:
    out = Bytes()
    for code, (tag, children, attributes) in _ABBREVIATIONS.items():
        out.varint(code)
        out.varint(tag)
        out.number(1, children)
        for attribute, form in (*attributes, (0, 0)):
            out.varint(attribute)
            out.varint(form)
    out.number(1, 0)
    return bytes(out.data)


class _Info:
    """Entries, whose references to each other are filled in when all have their place."""

    def __init__(self) -> None:
        self.out = Bytes()
        self.places: dict[str, int] = {}
        self.references: list[tuple[int, str]] = []

    def entry(self, code: int, label: str, *values: int | str | bytes) -> None:
        """A text is written as such for a name, as a reference elsewhere."""
        self.places[label] = len(self.out.data)
        self.out.number(1, code)
        for (_, form), value in zip(_ABBREVIATIONS[code][2], values, strict=True):
            self._value(form, value)

    def _value(self, form: int, value: int | str | bytes) -> None:
        if form == _STRING:
            assert isinstance(value, str)
            self.out.raw(value.encode() + b"\0")
        elif form == _REF_ADDR:
            assert isinstance(value, str)
            self.references.append((len(self.out.data), value))
            self.out.number(4, 0)
        elif isinstance(value, bytes):
            self.out.number(1, len(value))
            self.out.raw(value)
        elif isinstance(value, int):
            if form in (_UDATA, _ADDRX):
                self.out.varint(value)
            else:
                self.out.number({_ADDR: 8, _SEC_OFFSET: 4}.get(form, 1), value)

    def close(self) -> None:
        self.out.number(1, 0)


def _info(version: int) -> bytes:
    info = _Info()
    info.out.number(4, 0)
    info.out.number(2, version)
    if version >= 5:
        info.out.number(1, 1, 8)
        info.out.number(4, 0)
        info.entry(18, "unit", "main", 0x16, 0, 8)
    else:
        info.out.number(4, 0)
        info.out.number(1, 8)
        info.entry(1, "unit", "main", 0x16, _CODE)
    _entries(info)
    info.close()
    for at, label in info.references:
        info.out.set(at, 4, info.places[label])
    info.out.set(0, 4, len(info.out.data) - 4)
    return bytes(info.out.data)


def _entries(info: _Info) -> None:
    info.entry(2, "int", "int", 5, 8, 2, 0x20)
    info.entry(3, "*int", "*int", "int", 22)
    info.entry(8, "main.T", "main.T", "T")
    info.entry(4, "T", "main.T", 16, 25)
    info.entry(5, "A", "A", 0, "int", 0)
    info.entry(5, "B", "B", 8, "*T", 1)
    info.close()
    info.entry(3, "*T", "*main.T", "main.T", 22)
    info.entry(10, "[]int", "[]int", 24, 23, "int")
    info.entry(11, "[3]int", "[3]int", 24, "int", 17)
    info.entry(12, "range", "int", 3)
    info.close()
    info.entry(17, "map", "map[int]main.T", "*T", 21, "int", "main.T")
    info.entry(9, "variable", "main.v", b"\3" + bytes(7) + b"\x40", "int")
    info.entry(13, "abstract", "main.inlined", 1)
    info.entry(14, "parameter", "p", 0, "*T")
    info.close()
    info.entry(6, "main", "main.main", _CODE, _CODE + 32, b"\x9c")
    info.entry(7, "a", "a", 0, "int", 0)
    info.entry(7, "r", "~r0", 1, "*T", 0)
    info.close()
    info.entry(15, "concrete", "abstract", _CODE + 32, _CODE + 64, b"\x9c")
    info.entry(16, "q", "parameter", b"\x50")
    info.close()
