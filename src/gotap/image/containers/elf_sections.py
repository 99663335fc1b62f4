"""ELF's section table and what hangs on it: compressed sections, the symbol table. Hints only, see `elf`.

Sources: System V gABI chapter 4, SHF_COMPRESSED included; the GNU form `.zdebug_*` before it.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import zlib

import numpy as np

from gotap.image.containers.memory import Section
from gotap.image.errors import MalformedFile, TruncatedFile

SHT_SYMTAB, SHT_NOBITS = 2, 8
SHF_COMPRESSED = 0x800

#: Bytes of a section, decompressed, that are read at once; debug information of the largest Go programs has half of it.
MAX_CONTENT = 160 << 20
#: Symbols that are kept.
MAX_SYMBOLS = 1 << 19
#: Entries of a section table; linked programs have some dozens.
_MAX_SECTIONS = 1 << 14
_MAX_NAME = 1 << 12
_SYMBOL_64 = [("name", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2"), ("value", "u8"), ("size", "u8")]
_SYMBOL_32 = [("name", "u4"), ("value", "u4"), ("size", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2")]


def read_sections(
    data: bytes | mmap.mmap, bits: int, order: str, offset: int, count: int, entry_size: int, names_index: int
) -> dict[str, Section]:
    """Sections by name, the first of a name; empty when there is no table or it does not lie in the file.

    The numbers are those of the ELF header (e_shoff, e_shnum, e_shentsize, e_shstrndx).
    """
    entry = struct.Struct(order + ("IIQQQQIIQQ" if bits == 64 else "10I"))
    if entry_size != entry.size or not 0 < offset <= len(data) - entry.size:
        return {}
    # gABI: counts that do not fit in 16 bits stand in the first entry (sh_size, sh_link).
    first = entry.unpack_from(data, offset)
    count = count or first[5]
    names_index = first[6] if names_index == 0xFFFF else names_index
    if count > _MAX_SECTIONS or count * entry.size > len(data) - offset or names_index >= count:
        return {}
    raw = [entry.unpack_from(data, offset + entry.size * i) for i in range(count)]
    names_at, names_size = raw[names_index][4:6]
    if names_at + names_size > len(data):
        return {}
    sections: dict[str, Section] = {}
    for name_at, type_, flags, vaddr, start, size, *_ in raw[1:]:
        at = names_at + min(name_at, names_size)
        end = data.find(b"\0", at, min(at + _MAX_NAME, names_at + names_size))
        name = data[at : max(end, at)].decode("utf-8", "replace")
        sections.setdefault(name, Section(name, type_, flags, vaddr, start, size))
    return sections


def decompressed(content: bytes, bits: int, order: str, what: str) -> bytes:
    """The content of a section with SHF_COMPRESSED. Raises MalformedFile, TruncatedFile; `what` is for its message."""
    header = struct.Struct(order + ("IIQQ" if bits == 64 else "III"))
    if len(content) < header.size:
        raise TruncatedFile(f"{what} is cut off in its compression header", "copy or build the file again")
    fields = header.unpack_from(content)
    algorithm, size = fields[0], fields[2] if bits == 64 else fields[1]
    if algorithm != 1:
        raise MalformedFile(
            f"{what} is compressed by algorithm {algorithm}; only zlib (1) is supported", "link without it"
        )
    return inflate(content[header.size :], size, what)


def inflate(packed: bytes, size: int, what: str) -> bytes:
    """The zlib stream's content, which must have that size. Raises MalformedFile."""
    # zlib cannot expand more than 1032 times (its FAQ), so a greater claim is no reason to allocate.
    content = b""
    if size <= min(1032 * len(packed) + 64, MAX_CONTENT):
        with contextlib.suppress(zlib.error):
            content = zlib.decompressobj().decompress(packed, size or 1)
    if len(content) != size:
        raise MalformedFile(f"{what} does not decompress to the {size} bytes that it announces", "build the file again")
    return content


def read_symbols(table: bytes, names: bytes, bits: int, order: str) -> dict[str, tuple[int, int]]:
    """Name → (address, size) of what is defined, the first of a name."""
    layout = np.dtype(_SYMBOL_64 if bits == 64 else _SYMBOL_32).newbyteorder(">" if order == ">" else "<")
    rows = np.frombuffer(table[: len(table) // layout.itemsize * layout.itemsize], layout)
    kinds = rows["info"] & 15
    # STT_SECTION (3) and STT_FILE (4) name no code or data.
    rows = rows[(rows["section"] != 0) & (rows["name"] != 0) & (kinds != 3) & (kinds != 4)]
    symbols: dict[str, tuple[int, int]] = {}
    rows = rows[:MAX_SYMBOLS]
    columns = (rows[column].tolist() for column in ("name", "value", "size"))
    # Names may share their ends, which a hostile table could use to unfold a megabyte to terabytes.
    left = 8 * len(names) + (1 << 16)
    for at, value, size in zip(*columns, strict=True):
        end = names.find(b"\0", at)
        left -= max(end - at, 0)
        if left < 0:
            break
        symbols.setdefault(names[at:end].decode("utf-8", "replace"), (value, size))
    return symbols
