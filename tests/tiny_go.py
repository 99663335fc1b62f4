"""A Go program of four functions as its linker would lay it out: code, tables, types, build info, in every format.

Only tables, no code that runs: what `gotap.image` reads, in two or three kilobytes, so that a parser can be asked
thousands of times a second. Layouts: see `gotap.image.functions.pcheader`, `pclntab`, `moduledata`, `descriptor`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tiny_bytes import Bytes

MAGICS = {(1, 5): 0xFFFFFFFB, (1, 16): 0xFFFFFFFA, (1, 18): 0xFFFFFFF0, (1, 20): 0xFFFFFFF1, (1, 26): 0xFFFFFFF1,
          (1, 27): 0xFFFFFFF1}  # fmt: skip
NAMES = ("_rt0_amd64_linux", "runtime.main", "runtime/pprof.Lookup", "main.main")
#: Inlined into main.main, two into each other.
INLINED = ("main.helper", "main.deeper")
FILES = ("/src/rt0.s", "/src/main.go")
_FUNCTION = 32  # bytes of code
_MODULES = "path\tcommand\nmod\tm\tv1.0.0\t\ndep\td\tv1\th1:x=\n=>\t../d\nbuild\t-race=true\nbuild\tGOOS=linux\n"


class Recipe(NamedTuple):
    """`release`: the first Go release of the layout. `quantum` as in the function table's header."""

    release: tuple[int, int]
    bits: int = 64
    big_endian: bool = False
    quantum: int = 1
    magic: int | None = None  # another than Go's, as garble writes it


class Program(NamedTuple):
    """Three neighbouring pieces, and what a container's header has to say of them."""

    text: Bytes
    rodata: Bytes
    data: Bytes
    entry: int
    runtime_types: int


def buffers(recipe: Recipe) -> Callable[[int], Bytes]:
    """Makes buffers of that word size and byte order, by their address."""
    return lambda address: Bytes(address, recipe.bits, recipe.big_endian)


def make_program(recipe: Recipe, start: int) -> Program:
    """The pieces, laid out from address `start` on."""
    new = buffers(recipe)
    text = new(start)
    text.align(16)
    text.raw(b'\xff Go build ID: "tiny/tiny"\n \xff')
    entry = text.align(16)
    text.raw(b"\xe9\x10\0\0\0".ljust(len(NAMES) * _FUNCTION, b"\xcc"))
    text.align(16)
    rodata = new(text.here)
    table = _Table(recipe, rodata, entry)
    types = rodata.align(8)
    described = _types(rodata, recipe.release)
    etypes = rodata.align(8)
    gofunc = _inline_tree(rodata, recipe.release, table.inlined_at, table.inline_offset)
    typelinks = rodata.here
    rodata.number(4, *described)
    version = f"go{recipe.release[0]}.{recipe.release[1]}"
    held = rodata.raw(version.encode())
    rodata.raw(b"\0 threadcreate PYTHONSTARTUP\0")
    rodata.align(16)
    data = new(rodata.here)
    _build_info(data, recipe, version)
    data.align(16)
    data.pointer(held)
    data.word(len(version))
    sections = data.here
    data.word(0, len(NAMES) * _FUNCTION, entry)
    module = _Module(recipe.release, table, (entry, entry + len(NAMES) * _FUNCTION))
    module.write(data, (types, etypes), gofunc, (typelinks, len(described)), sections)
    data.align(16)
    return Program(text, rodata, data, entry, types)


class _Table:
    """pclntab, written into the buffer at once."""

    def __init__(self, recipe: Recipe, out: Bytes, text: int) -> None:
        self.recipe, self.release = recipe, recipe.release
        self.old = self.release < (1, 16)
        self.offsets = self.release >= (1, 18)  # of functions, instead of pointers
        self.address = out.align(8)
        names, self.name_offsets = _texts((*NAMES, *INLINED))
        files, file_offsets = _texts(FILES)
        pctab, (zero, file_at, line_at, inline_at) = _pc_tables()
        self.inlined_at = self.name_offsets[len(NAMES) :]
        self.inline_offset = 0
        header = 8 + out.word_size * (1 if self.old else 7 if self.release < (1, 18) else 8)
        if self.old:
            self._write_old(out, text, names, files, file_offsets, pctab, (zero, file_at, line_at, inline_at))
            return
        starts = [(header + 7) // 8 * 8]
        for part in (names, bytes(4 * len(file_offsets)), files, pctab):
            starts.append(starts[-1] + (len(part) + 7) // 8 * 8)
        self.funcname, self.pcln = starts[0], starts[4]
        out.number(4, recipe.magic or MAGICS[self.release])
        out.number(1, 0, 0, recipe.quantum, out.word_size)
        out.word(len(NAMES), len(FILES), *([text] if self.offsets and self.release < (1, 26) else [0][: self.offsets]))
        out.word(*starts)
        out.align(8)
        out.raw(names)
        out.align(8)
        out.number(4, *file_offsets)
        out.align(8)
        out.raw(files)
        out.align(8)
        out.raw(pctab)
        out.align(8)
        assert out.here == self.address + self.pcln
        self._write_functions(out, text, (zero, file_at, line_at, inline_at))
        self.size = out.here - self.address - self.pcln

    def _write_old(self, out: Bytes, text: int, names: bytes, files: bytes, file_offsets: list[int], pctab: bytes,
                   at: tuple[int, int, int, int]) -> None:  # fmt: skip
        """Go 1.2 to 1.15: all offsets count from the header."""
        word, self.pcln, self.funcname = out.word_size, 0, 0
        rows = 8 + word + 2 * word * len(NAMES) + word
        list_at = (rows + 4 + 7) // 8 * 8
        names_at = list_at + 4 * (1 + len(FILES))
        pctab_at = names_at + len(names) + len(files)
        out.number(4, MAGICS[self.release])
        out.number(1, 0, 0, self.recipe.quantum, word)
        out.word(len(NAMES))
        self.name_offsets = [names_at + offset for offset in self.name_offsets]
        self.inlined_at = self.name_offsets[len(NAMES) :]
        records_at = (pctab_at + len(pctab) + 7) // 8 * 8
        self._rows(out, text, records_at)
        out.number(4, list_at)
        out.align(8)
        out.number(4, 1 + len(FILES), *(names_at + len(names) + offset for offset in file_offsets))
        out.raw(names + files + pctab)
        out.align(8)
        assert out.here == self.address + records_at, (out.here - self.address, records_at)
        shifted = tuple(pctab_at + offset if offset else 0 for offset in at)
        self._records(out, text, shifted)
        self.size = out.here - self.address

    def _write_functions(self, out: Bytes, text: int, at: tuple[int, ...]) -> None:
        row = 4 if self.offsets else out.word_size
        self._rows(out, text, (row * (2 * len(NAMES) + 1) + 7) // 8 * 8)
        out.align(8)
        self._records(out, text, at)

    def _rows(self, out: Bytes, text: int, first: int) -> None:
        for index in range(len(NAMES)):
            if self.offsets:
                out.number(4, index * _FUNCTION, first + index * self._record_size(out))
            else:
                out.pointer(text + index * _FUNCTION)
                out.word(first + index * self._record_size(out))
        if self.offsets:
            out.number(4, len(NAMES) * _FUNCTION)
        else:
            out.pointer(text + len(NAMES) * _FUNCTION)

    def _record_size(self, out: Bytes) -> int:
        entry = 4 if self.offsets else out.word_size
        fixed = 8 + (self.release >= (1, 16)) + (self.release >= (1, 20))
        return (entry + 4 * (fixed + 3 + 4) + 7) // 8 * 8

    def _records(self, out: Bytes, text: int, at: tuple[int, ...]) -> None:
        zero, file_at, line_at, inline_at = at
        for index in range(len(NAMES)):
            start = out.here
            is_main = index == len(NAMES) - 1
            if self.offsets:
                out.number(4, index * _FUNCTION)
            else:
                out.pointer(text + index * _FUNCTION)
            out.number(4, self.name_offsets[index], 0, 0, zero, file_at, line_at, 3)
            if self.release >= (1, 16):
                out.number(4, 0)
            if self.release >= (1, 20):
                out.number(4, 10 + index)
            out.number(1, 0, 0, 0, 4)
            out.number(4, zero, zero, inline_at if is_main else 0)
            none = 0xFFFFFFFF
            out.number(4, none, none, none, 0 if is_main and self.offsets else none)
            out.raw(bytes(self._record_size(out) - (out.here - start)))


def _texts(texts: tuple[str, ...]) -> tuple[bytes, list[int]]:
    joined, offsets = b"", []
    for text in texts:
        offsets.append(len(joined))
        joined += text.encode() + b"\0"
    return joined, offsets


def _pc_tables() -> tuple[bytes, tuple[int, int, int, int]]:
    """Stack depth 0; file 1; lines 10 and 12; the inlined calls 0, then 1, then none."""

    def table(*steps: tuple[int, int]) -> bytes:
        """(delta of the value, bytes of code); the first value counts from −1."""
        rows = b"".join(bytes(((delta << 1 if delta >= 0 else (-delta << 1) - 1), size)) for delta, size in steps)
        return rows + b"\0"

    tables = (table((1, _FUNCTION)), table((2, _FUNCTION)), table((11, 16), (2, 16)), table((1, 8), (1, 8), (-2, 16)))
    offsets, joined = [], b"\0"
    for one in tables:
        offsets.append(len(joined))
        joined += one
    return joined, (offsets[0], offsets[1], offsets[2], offsets[3])


def _inline_tree(out: Bytes, release: tuple[int, int], names: list[int], offset: int) -> int:
    """The tree of main.main, at offset 0 from gofunc, which is returned."""
    gofunc = out.align(4)
    for index, name in enumerate(names):
        if release >= (1, 20):
            out.number(1, 0, 0, 0, 0)
            out.number(4, name, 16 if index == 0 else 0, 30)
        else:
            out.number(2, index - 1)
            out.number(1, 0, 0)
            out.number(4, 1, 30, name, 16 if index == 0 else 0)
    return gofunc


class _Module(NamedTuple):
    """moduledata: which word is where, see the table in `gotap.image.functions.moduledata`."""

    release: tuple[int, int]
    table: _Table
    text: tuple[int, int]

    def write(self, out: Bytes, types: tuple[int, int], gofunc: int, typelinks: tuple[int, int], sections: int) -> None:
        out.align(out.word_size)
        table, at = self.table, self.table.address
        pointers, numbers = {}, {}
        if self.release < (1, 16):
            count = len(NAMES) + 1
            pointers = {0: at, 3: at + 8 + out.word_size, 10: self.text[0], 11: self.text[1], 12: self.text[0],
                        13: self.text[1]}  # fmt: skip
            numbers = {1: table.size, 2: table.size, 4: count, 5: count}
        else:
            pointers = {0: at, 1: at + table.funcname, 13: at + table.pcln, 20: self.text[0], 21: self.text[1],
                        22: self.text[0], 23: self.text[1]}  # fmt: skip
            numbers = {14: table.size, 15: table.size}
            first = 35 if self.release < (1, 20) else 37
            last = first + (2 if self.release >= (1, 27) else 1)
            pointers |= {first: types[0], last: types[1]}
            if self.release >= (1, 18):
                self._newer(pointers, numbers, types, gofunc, typelinks, sections)
        for index in range(56):
            if index in pointers:
                out.pointer(pointers[index])
            else:
                out.word(numbers.get(index, 0))

    def _newer(self, pointers: dict[int, int], numbers: dict[int, int], types: tuple[int, int], gofunc: int,
               typelinks: tuple[int, int], sections: int) -> None:  # fmt: skip
        at = {(1, 18): 38, (1, 20): 40, (1, 26): 40, (1, 27): 43}[self.release]
        pointers |= {at - 1: types[0], at: gofunc}
        if self.release >= (1, 26):
            at += 1
            pointers[at] = self.table.address + self.table.pcln + self.table.size
        pointers[at + 1] = sections
        numbers |= {at + 2: 1, at + 3: 1}
        if self.release >= (1, 27):
            numbers |= {38: _row_length(self.release), 40: _ROW_END}
        else:
            pointers[at + 4] = typelinks[0]
            numbers |= {at + 5: typelinks[1], at + 6: typelinks[1]}


# -- types ------------------------------------------------------------------------------------------------------

_NAMED, _UNCOMMON = 4, 1
_INT, _ARRAY, _CHAN, _FUNC, _INTERFACE, _MAP, _POINTER, _SLICE, _STRING, _STRUCT = 2, 17, 18, 19, 20, 21, 22, 23, 24, 25
_ROW_END = 0x400  # the descriptors' room, behind which their names stand
_SIZES_BEFORE_MAP, _SIZES_BEHIND_MAP = (48, 56, 56, 80 + 16 + 2 * 24, 56 + 16, 80 + 8), (72, 64, 48)


def _map_size(release: tuple[int, int]) -> int:
    return 88 if release < (1, 24) else 112 if release < (1, 27) else 136


def _row_length(release: tuple[int, int]) -> int:
    return 8 + sum(_SIZES_BEFORE_MAP) + _map_size(release) + sum(_SIZES_BEHIND_MAP)


def _types(out: Bytes, release: tuple[int, int]) -> list[int]:
    """int, *int, []int, main.T, func(int) string, an interface, map[int]string, [3]int, chan int, string.

    Offsets of the descriptors from the types' start, where the buffer stands. 64 bits only: others get zeros.
    """
    start = out.here
    map_size = _map_size(release)
    sizes = [*_SIZES_BEFORE_MAP, map_size, *_SIZES_BEHIND_MAP]
    texts = ["int", "*int", "[]int", "main.T", "func(int) string", "interface { M() }", "map[int]string", "[3]int",
             "chan int", "string"]  # fmt: skip
    kinds = [_INT, _POINTER, _SLICE, _STRUCT, _FUNC, _INTERFACE, _MAP, _ARRAY, _CHAN, _STRING]
    offsets = [8 + sum(sizes[:index]) for index in range(len(sizes))]
    names, name_at = b"", {}
    for text in (*texts, "main", "A", "B", "M"):
        name_at[text] = _ROW_END + len(names)
        names += b"\1" + bytes((len(text),)) + text.encode()
    if out.word_size != 8 or out.order != "little":
        out.raw(bytes(64))
        return [8]
    at = [start + offset for offset in offsets]
    out.raw(bytes(8))
    for index, (kind, text) in enumerate(zip(kinds, texts, strict=True)):
        assert out.here == at[index]
        flags = _NAMED * (kind in (_INT, _STRING)) + (_NAMED | _UNCOMMON) * (kind == _STRUCT)
        out.word(16, 8)
        out.number(4, 0xABCD)
        out.number(1, flags, 8, 8, kind)
        out.word(0, 0)
        out.number(4, name_at[text], offsets[1] if kind == _INT else 0)
        _kind_part(out, kind, start, at, name_at)
        out.raw(bytes(at[index] + sizes[index] - out.here))
    out.raw(bytes(start + _ROW_END - out.here))
    out.raw(names)
    return offsets


def _kind_part(out: Bytes, kind: int, start: int, at: list[int], name_at: dict[str, int]) -> None:
    if kind in (_POINTER, _SLICE, _ARRAY, _CHAN):
        out.pointer(at[0])
        if kind == _ARRAY:
            out.pointer(at[2])
        if kind in (_ARRAY, _CHAN):
            out.word(3)
    elif kind == _MAP:
        out.pointer(at[0], at[9], at[3])
    elif kind == _FUNC:
        out.number(2, 1, 1)
        out.number(4, 0)
        out.pointer(at[0], at[9])
    elif kind == _INTERFACE:
        out.pointer(start + name_at["main"], out.here + 32)
        out.word(1, 1)
        out.number(4, name_at["M"], at[4] - start)
    elif kind == _STRUCT:
        out.pointer(start + name_at["main"], out.here + 48)
        out.word(2, 2)
        out.number(4, name_at["main"], 0, 16, 0)
        for name, type_, offset in (("A", at[0], 0), ("B", at[1], 8)):
            out.pointer(start + name_at[name], type_)
            out.word(offset)


# -- build info -------------------------------------------------------------------------------------------------


def _build_info(out: Bytes, recipe: Recipe, version: str) -> None:
    modules = b"\x30" * 16 + _MODULES.encode() + b"\xf9" * 16
    start = out.align(16)
    out.raw(b"\xff Go buildinf:")
    if recipe.release >= (1, 18):
        out.number(1, out.word_size, 2)
        out.raw(bytes(start + 32 - out.here))
        for text in (version.encode(), modules):
            out.varint(len(text))
            out.raw(text)
        return
    out.number(1, out.word_size, recipe.big_endian)
    headers = start + 32
    out.pointer(headers, headers + 2 * out.word_size)
    out.raw(bytes(headers - out.here))
    texts = headers + 4 * out.word_size
    out.pointer(texts)
    out.word(len(version))
    out.pointer(texts + len(version))
    out.word(len(modules))
    out.raw(version.encode() + modules)
