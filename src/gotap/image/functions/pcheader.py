"""The header of Go's function table: how it is found, and where the table's parts stand in each of its formats.

It is found by its bytes, not by a section name: `.gopclntab` is called otherwise in a PIE, is missing after external
linking, and goes with the section table. A header alone proves nothing; see `gotap.image.functions.tables`.

| magic    | Go        | behind the first 8 bytes, words of a pointer's size                                  |
|----------|-----------|--------------------------------------------------------------------------------------|
| fffffffb | 1.2–1.15  | nfunc; then the functions, and all offsets count from the header                      |
| fffffffa | 1.16–1.17 | nfunc, nfiles, offsets of names, units, files, PC tables, functions                   |
| fffffff0 | 1.18–1.19 | nfunc, nfiles, textStart, the same offsets                                            |
| fffffff1 | 1.20–1.27 | the same; textStart is 0 from Go 1.26                                                 |

Sources: type pcHeader in runtime/symtab.go and cmd/link/internal/ld/pcln.go of Go 1.5, 1.9, 1.11, 1.13,
1.15–1.18, 1.20, 1.26 and 1.27.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from gotap.image.containers.container import Container
from gotap.image.containers.memory import PF_X
from gotap.image.errors import BadAddress

MAGIC_1_2, MAGIC_1_16, MAGIC_1_18, MAGIC_1_20 = 0xFFFFFFFB, 0xFFFFFFFA, 0xFFFFFFF0, 0xFFFFFFF1
#: Magic → the Go release that introduced the format.
FORMATS = {MAGIC_1_2: "1.2", MAGIC_1_16: "1.16", MAGIC_1_18: "1.18", MAGIC_1_20: "1.20"}
#: Releases whose binaries carry a magic that is too old for probing.
OLD_MAGICS = {MAGIC_1_2: "1.2 to 1.15", MAGIC_1_16: "1.16 or 1.17"}

#: The largest programs known have some 600,000.
_MAX_FUNCTIONS = 1 << 20
#: Places in a megabyte that may look like a header without its magic; real data has a few.
_MAX_SHAPES = 1 << 10
#: What instruction lengths are multiples of, where it is not 4 (MinLC in cmd/internal/sys/arch.go).
_QUANTA = {"amd64": (1,), "386": (1,), "s390x": (2,), "riscv64": (4, 2)}


class PcHeader(Struct, frozen=True):
    """The table's header. `funcname` … `pcln` are offsets of its parts from `address`; `end`: where its segment ends.

    `functab` is the offset of the list of functions, `pcln` what the list's offsets of records count from: the same
    since Go 1.16, and 0 before, when offsets of names, PC tables and files counted from the header as well.
    `quantum` is the length in bytes that all instruction lengths are multiples of, `word` the bytes of a pointer.
    """

    address: int
    magic: int
    quantum: int
    end: int
    nfunc: int = 0
    nfiles: int = 0
    funcname: int = 0
    cu: int = 0
    filetab: int = 0
    pctab: int = 0
    pcln: int = 0
    functab: int = 0
    word: int = 8

    @property
    def format(self) -> str:
        """The Go release that introduced the format; of a scrambled magic, the newest."""
        return FORMATS.get(self.magic, "1.20")

    @property
    def is_obfuscated(self) -> bool:
        """Its magic is none of Go's: garble writes a random one and hides the functions' names and addresses."""
        return self.magic not in FORMATS


def find_headers(container: Container) -> Iterator[PcHeader]:
    """All plausible headers. A linker or a debugger holds the magic as a constant, but not what must follow it."""
    for quantum in _QUANTA.get(container.arch, (4, 2, 1)):
        tail = bytes((0, 0, quantum, container.word_size))
        if container.big_endian:
            patterns = [(magic.to_bytes(4, "big") + tail, 0) for magic in FORMATS]
        else:  # magic without its low byte
            patterns = [(b"\xff\xff\xff" + tail, 1)]
        for pattern, before in patterns:
            for at in container.search(pattern):
                header = _header_at(container, at - before)
                if header is not None and not header.is_obfuscated:
                    yield header


def find_shapes(container: Container) -> Iterator[PcHeader]:
    """What has the form of a header since Go 1.18 but for the magic, as garble leaves it."""
    word = container.word_size
    # Any magic, two zeros, quantum, pointer size, and two counts below 2²⁴.
    count = rb"\0{%d}[\s\S]{3}" % (word - 3) if container.big_endian else rb"[\s\S]{3}\0{%d}" % (word - 3)
    pattern = re.compile(rb"\0\0[\1\2\4]" + re.escape(bytes((word,))) + count * 2)
    data = [segment for segment in container.loads if not segment.flags & PF_X or container.format == "macho"]
    length = 4 + 2 * word
    for start, piece in container.pieces(data, length - 1):
        for match in islice(pattern.finditer(piece), _MAX_SHAPES):
            header = _header_at(container, start + match.start() - 4)
            if header is not None and header.is_obfuscated:
                yield header


def _header_at(container: Container, offset: int) -> PcHeader | None:
    word, address = container.word_size, container.address_of(offset)
    segment = container.segment_of(address) if address is not None else None
    if address is None or segment is None or address % word:
        return None
    end = segment.offset + segment.filesz
    fields = struct.Struct(container.order + "IHBB" + "QI"[word == 4] * 8)
    if offset + fields.size > end:
        return None
    magic, _, quantum, _, nfunc, *words = fields.unpack_from(container.data, offset)
    if not 0 < nfunc < _MAX_FUNCTIONS or nfunc * 8 > end - offset:
        return None
    start = PcHeader(address, magic, quantum, address + end - offset, nfunc, word=word)
    if magic == MAGIC_1_2:
        return _of_1_2(container, start)
    # Since 1.18 textStart stands between the counts and the offsets.
    size, first, row = (8 + 7 * word, 1, 2 * word) if magic == MAGIC_1_16 else (fields.size, 2, 8)
    parts = words[first : first + 5]
    if not size <= parts[0] or parts != sorted(parts) or parts[-1] + row * nfunc + row // 2 > end - offset:
        return None
    if magic not in FORMATS and (parts[0] > size + 64 or len(set(parts)) < 5):
        return None  # without the magic, the offsets have to be all the more convincing
    funcname, cu, filetab, pctab, pcln = parts
    return replace(
        start, nfiles=words[0], funcname=funcname, cu=cu, filetab=filetab, pctab=pctab, pcln=pcln, functab=pcln
    )


def _of_1_2(container: Container, header: PcHeader) -> PcHeader | None:
    """Go 1.2–1.15: {PC, offset of the record} for each function, the end's PC, and the offset of the list of files."""
    word, functab = header.word, 8 + header.word
    end = functab + 2 * word * header.nfunc + word
    if header.address + end + 8 > header.end:
        return None
    try:
        first, record = container.pointers(header.address + functab, 2).tolist()
        filetab = container.u32(header.address + end)
    except BadAddress:
        return None
    code = container.segment_of(first)
    if code is None or not code.flags & PF_X or not end <= record < header.end - header.address:
        return None
    if not end <= filetab < header.end - header.address - 4 or filetab % 4:
        return None
    return replace(header, filetab=filetab, functab=functab)
