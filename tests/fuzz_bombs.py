"""Files made to cost much: what damage by chance does not find, since it takes size or repetition on purpose."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from fuzz_targets import Sections
from tiny_bytes import Bytes
from tiny_dwarf import debug_sections
from tiny_go import Recipe
from tiny_images import Tiny, make_elf

HUGE = 100 << 30
_PHDR, _SHDR = 56, 64


def sparse_programs() -> dict[str, Callable[[bytearray], None]]:
    """Changes to a tiny ELF program that stands at the start of a file of 100 GB, most of which is a hole."""
    return {
        "a segment of data": lambda image: _claim(image, 2),
        "a segment of code": lambda image: _claim(image, 0),
        "no table": _no_table,
        "sections": _sections,
        "notes": lambda image: _claim(image, 3),
        "a note": _note,
        "relocations": _relocations,
        "functions": _functions,
        "names": _names,
    }


def write_sparse(path: Path, change: Callable[[bytearray], None]) -> None:
    image = bytearray(make_elf(Recipe((1, 26))).content)
    change(image)
    path.write_bytes(image)
    os.truncate(path, HUGE)


def _header(image: bytearray, index: int) -> int:
    """Where the program header stands."""
    return 64 + _PHDR * index


def _claim(image: bytearray, index: int) -> None:
    """Its size in the file and in memory: all that there is."""
    (offset,) = struct.unpack_from("<Q", image, _header(image, index) + 8)
    struct.pack_into("<QQ", image, _header(image, index) + 32, HUGE - offset, HUGE - offset)


def _table_at(image: bytearray) -> int:
    return image.index(struct.pack("<IHBB", 0xFFFFFFF1, 0, 1, 8))


def _no_table(image: bytearray) -> None:
    """Not Go's either, so that everything is looked for."""
    _claim(image, 2)
    at = _table_at(image)
    image[at : at + 4] = bytes(4)
    for text in (b" Go buildinf:", b"Go build ID", b"Go\0\0tiny/id", b"PYTHONSTARTUP"):
        at = image.index(text)
        image[at : at + 2] = b"xx"


def _sections(image: bytearray) -> None:
    (table,) = struct.unpack_from("<Q", image, 40)
    (count,) = struct.unpack_from("<H", image, 60)
    for index in range(1, count - 1):
        struct.pack_into("<Q", image, table + _SHDR * index + 32, HUGE // 2)


def _note(image: bytearray) -> None:
    _claim(image, 3)
    at = image.index(b"Go\0\0tiny/id") - 12
    struct.pack_into("<I", image, at + 4, 0xFFFFFFF0)


def _relocations(image: bytearray) -> None:
    _claim(image, 2)
    at = image.index(struct.pack("<QQ", 8, 0))  # DT_RELASZ
    struct.pack_into("<Q", image, at + 8, HUGE // 2)


def _functions(image: bytearray) -> None:
    _claim(image, 1)
    struct.pack_into("<Q", image, _table_at(image) + 8, (1 << 20) - 1)


def _names(image: bytearray) -> None:
    """The offsets of all parts but the names, far behind the data."""
    _claim(image, 1)
    at = _table_at(image) + 8 + 8 * 4
    for index in range(4):
        struct.pack_into("<Q", image, at + 8 * index, HUGE // 2 + (index << 30))


# -- debug information ------------------------------------------------------------------------------------------


def debug_bombs() -> dict[str, bytes]:
    """Inputs of the target "dwarf", up to 130 kB."""
    plain = debug_sections(4)
    unit = struct.pack("<IHIB", 7 + 1, 4, 0, 8) + b"\0"
    table = b"".join(bytes((code, 0x24, 0, 3, 8, 0, 0)) for code in range(1, 120)) * 60
    many = b"".join(struct.pack("<IHIB", 8, 4, 7 * number, 8) + b"\0" for number in range(5000))
    return {
        "a number of 60,000 bytes": _packed(plain | {".debug_info": unit[:-1] + b"\xff" * 60_000}),
        "an abbreviation of 60,000 bytes": _packed(plain | {".debug_abbrev": b"\xff" * 60_000}),
        "5,000 overlapping tables": _packed(plain | {".debug_info": many, ".debug_abbrev": table + b"\0"}),
        "names without end": _packed(plain | {".debug_info": plain[".debug_info"] + b"\2int" * 15_000}),
    }


def _packed(sections: dict[str, bytes]) -> bytes:
    return Sections.packed(sections)


# -- types ------------------------------------------------------------------------------------------------------


def nested_structs(levels: int) -> Tiny:
    """A struct of two fields of a struct of two fields …, all without names: the outermost's would have 2ⁿ parts."""
    image = make_elf(Recipe((1, 26)))
    return image._replace(content=_with_types(image, levels))


def _with_types(image: Tiny, levels: int) -> bytes:
    """The descriptors are put behind the file, into a segment whose types moduledata is made to name."""
    base, word = 0x10000000, 8
    names_at = word + levels * (80 + 48)
    out = Bytes(base)
    out.word(0)
    for level in range(levels):
        at = out.here
        out.word(16, 8)
        out.number(4, 1)
        out.number(1, 0, 8, 8, 25)
        out.word(0, 0)
        out.number(4, names_at, 0)
        out.word(0, at + 80, 2, 2)
        inner = at - 128 if level else at
        for offset in (0, 8):
            out.word(base + names_at + 8, inner, offset)
    out.raw(b"\1\6struct\1\1A")
    out.align(8)
    content = bytearray(image.content)
    content += bytes(-len(content) % 8)
    start = len(content)
    old = _module_types(content)
    links = base + len(out.data)
    out.number(4, *(word + 128 * level for level in range(levels)))
    struct.pack_into("<QQ", content, old, base, base + len(out.data))
    struct.pack_into("<QQQ", content, old + 8 * (45 - 37), links, levels, levels)
    size = len(out.data)
    struct.pack_into("<IIQQQQQQ", content, _header(content, 3), 1, 4, start, base, base, size, size, 8)
    return bytes(content + out.data)


def _module_types(content: bytearray) -> int:
    """Where moduledata's word `types` stands: the 37th from the one that points at the function table."""
    table = struct.pack("<Q", 0x400000 + _table_at(content))
    return content.index(table, _table_at(content) + 64) + 8 * 37


# -- compression ------------------------------------------------------------------------------------------------


def compressed_zeros(size: int) -> bytes:
    """A file whose compressed section .debug_info is so many zeros."""
    image = make_elf(Recipe((1, 26)))
    content = bytearray(image.content)
    packer = zlib.compressobj()
    packed = struct.pack("<IIQQ", 1, 0, size, 1)
    packed += b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    (table,) = struct.unpack_from("<Q", content, 40)
    (count,) = struct.unpack_from("<H", content, 60)
    (names,) = struct.unpack_from("<Q", content, table + _SHDR * (count - 1) + 24)
    wanted = content.index(b"\0.debug_info\0", names) + 1 - names
    for index in range(count):
        row = table + _SHDR * index
        if struct.unpack_from("<I", content, row)[0] == wanted:
            struct.pack_into("<QQQQ", content, row + 8, 0x800, 0, len(content), len(packed))
    return bytes(content) + packed
