"""runtime.moduledata: where a Go module's text, types and function data are.

Found by the word that points at the function table, as no name of it is left in a stripped binary. Field positions
were read in `type moduledata struct`, runtime/symtab.go, of Go 1.18.10, 1.19.13, 1.20.14, 1.21.13, 1.22.12, 1.23.12,
1.24.13, 1.25.10, 1.26.8 and 1.27.4. In 8-byte words they fall into four layouts:

| field                                | 1.18–1.19 | 1.20–1.25 | 1.26  | 1.27  |
|--------------------------------------|-----------|-----------|-------|-------|
| pcHeader, funcnametab                | 0, 1      | same      | same  | same  |
| pclntable (slice)                    | 13        | same      | same  | same  |
| findfunctab, minpc, maxpc            | 19–21     | same      | same  | same  |
| text, etext, noptrdata … enoptrbss   | 22–31     | same      | same  | same  |
| covctrs, ecovctrs                    | none      | 32        | 32    | 32    |
| types, etypes                        | 35, 36    | 37, 38    | 37, 38 | 37, 39 |
| typedesclen, itaboffset, itabsize    | none      | none      | none  | 38, 40, 41 |
| rodata, gofunc                       | 37, 38    | 39, 40    | 39, 40 | 42, 43 |
| epclntab                             | none      | none      | 41    | 44    |
| textsectmap (slice)                  | 39        | 41        | 42    | 45    |
| typelinks, itablinks (slices)        | 42, 45    | 44, 47    | 45, 48 | none |

The layouts are told apart by what stands in the words and not by the version, which may be missing or patched.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.image.elf import Elf
from gotap.image.errors import BadAddress
from gotap.image.pclntab import MAGIC_1_18, PcHeader

_WORDS = 52  # the longest layout up to the end of itablinks, rounded up


class ModuleData(Struct, frozen=True):
    """Unrelocated addresses; lengths in bytes unless said otherwise.

    `layout` is the first Go release of that layout. `gofunc` is what FUNCDATA offsets count from.
    `typelinks` and `itablinks` are (address, count) of int32 offsets and of pointers, (0, 0) from Go 1.27.
    `typedesclen`, `itaboffset` and `itabsize` are 0 before Go 1.27; `epclntab` is 0 before 1.26.
    """

    address: int
    layout: tuple[int, int]
    text: int
    etext: int
    minpc: int
    maxpc: int
    types: int
    etypes: int
    rodata: int
    gofunc: int
    pclntable: tuple[int, int]
    typelinks: tuple[int, int] = (0, 0)
    itablinks: tuple[int, int] = (0, 0)
    typedesclen: int = 0
    itaboffset: int = 0
    itabsize: int = 0
    epclntab: int = 0


class _Layout(Struct, frozen=True):
    """Word indices; 0: no such field."""

    since: tuple[int, int]
    types: int
    etypes: int
    gofunc: int  # rodata is the word before it in all layouts
    textsectmap: int
    epclntab: int = 0
    typelinks: int = 0
    itablinks: int = 0
    typedesclen: int = 0
    itaboffset: int = 0


_LAYOUTS = (
    _Layout((1, 18), types=35, etypes=36, gofunc=38, textsectmap=39, typelinks=42, itablinks=45),
    _Layout((1, 20), types=37, etypes=38, gofunc=40, textsectmap=41, typelinks=44, itablinks=47),
    _Layout((1, 26), types=37, etypes=38, gofunc=40, epclntab=41, textsectmap=42, typelinks=45, itablinks=48),
    _Layout((1, 27), types=37, typedesclen=38, etypes=39, itaboffset=40, gofunc=43, epclntab=44, textsectmap=45),
)


def find_moduledata(elf: Elf, header: PcHeader) -> ModuleData | None:
    """The moduledata of that function table; None when nothing that points at the table looks like one."""
    for address, words in _candidates(elf, header):
        for layout in _LAYOUTS:
            if (header.magic == MAGIC_1_18) == (layout.since == (1, 18)) and _fits(elf, header, layout, words):
                return _make(address, layout, [int(word) for word in words])
    return None


def points_at_table(elf: Elf, header: PcHeader) -> bool:
    """Whether there is a moduledata of any layout: a Go module, though perhaps of a Go that is not known yet."""
    return any(True for _ in _candidates(elf, header))


def _candidates(elf: Elf, header: PcHeader) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """(address, words) of what starts like a moduledata: pcHeader, then funcnametab where the header has it."""
    for address in elf.words_pointing_at(header.address):
        try:
            words = elf.pointers(address, _WORDS)
        except BadAddress:
            continue
        if int(words[1]) == header.address + header.funcname and int(words[13]) == header.address + header.pcln:
            yield address, words


def _fits(elf: Elf, header: PcHeader, layout: _Layout, words: NDArray[np.uint64]) -> bool:
    text, etext, minpc = int(words[22]), int(words[23]), int(words[20])
    types, etypes = int(words[layout.types]), int(words[layout.etypes])
    gofunc = int(words[layout.gofunc])
    sections, count, capacity = (int(word) for word in words[layout.textsectmap : layout.textsectmap + 3])
    # The linker writes one textsect per text section and never an empty map (cmd/link, textsectionmap).
    if not 1 <= count == capacity < 1 << 16 or elf.offset_of(sections) is None:
        return False
    if layout.epclntab and not header.address < int(words[layout.epclntab]) < header.address + (1 << 32):
        return False
    if layout.typelinks and int(words[layout.typelinks + 1]) != int(words[layout.typelinks + 2]):
        return False
    mapped = all(elf.segment_of(address) is not None for address in (text, types, gofunc))
    return mapped and text <= minpc < etext and types <= etypes


def _make(address: int, layout: _Layout, words: list[int]) -> ModuleData:
    def pair(at: int) -> tuple[int, int]:
        return (words[at], words[at + 1]) if at else (0, 0)

    return ModuleData(
        address=address,
        layout=layout.since,
        text=words[22],
        etext=words[23],
        minpc=words[20],
        maxpc=words[21],
        types=words[layout.types],
        etypes=words[layout.etypes],
        rodata=words[layout.gofunc - 1],
        gofunc=words[layout.gofunc],
        pclntable=pair(13),
        typelinks=pair(layout.typelinks),
        itablinks=pair(layout.itablinks),
        typedesclen=words[layout.typedesclen] if layout.typedesclen else 0,
        itaboffset=words[layout.itaboffset] if layout.itaboffset else 0,
        itabsize=words[layout.itaboffset + 1] if layout.itaboffset else 0,
        epclntab=words[layout.epclntab] if layout.epclntab else 0,
    )
