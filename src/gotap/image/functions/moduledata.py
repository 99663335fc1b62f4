"""runtime.moduledata: where a Go module's text, types and function data are.

Found by the word that points at the function table, as no name of it is left in a stripped binary. Field positions
were read in `type moduledata struct`, runtime/symtab.go, of Go 1.18.10, 1.19.13, 1.20.14, 1.21.13, 1.22.12, 1.23.12,
1.24.13, 1.25.10, 1.26.8 and 1.27.4. In words of a pointer's size they fall into four layouts:

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

Before, as read in Go 1.5.4, 1.9.7, 1.15.15, 1.16.15 and 1.17.13: 1.16 and 1.17 have the words up to etypes as 1.18 has
them; Go 1.5 to 1.15 begin with pclntable and ftab (slices, at 0 and 3), and have minpc, maxpc, text and etext at 10–13.

The layouts are told apart by what stands in the words and not by the version, which may be missing or patched.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gotap.image.containers.container import Container
from gotap.image.errors import BadAddress
from gotap.image.functions.pcheader import PcHeader

_WORDS = 52  # the longest layout up to the end of itablinks, rounded up


class ModuleData(Struct, frozen=True):
    """Unrelocated addresses; lengths in bytes unless said otherwise.

    `layout` is the first Go release of that layout. `gofunc` is what FUNCDATA offsets count from.
    `typelinks` and `itablinks` are (address, count) of int32 offsets and of pointers, (0, 0) from Go 1.27.
    Before Go 1.18 `rodata`, `gofunc` and both links are 0, before 1.16 `types` and `etypes` too: nothing uses them.
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
    """Word indices; 0: no such field. `format` is that of the function table."""

    since: tuple[int, int]
    format: str
    types: int = 0
    etypes: int = 0
    gofunc: int = 0  # rodata is the word before it in all layouts
    textsectmap: int = 0
    minpc: int = 20  # maxpc, text and etext follow
    pclntable: int = 13
    epclntab: int = 0
    typelinks: int = 0
    itablinks: int = 0
    typedesclen: int = 0
    itaboffset: int = 0


_LAYOUTS = (
    _Layout((1, 5), "1.2", minpc=10, pclntable=0),
    _Layout((1, 16), "1.16", types=35, etypes=36),
    _Layout((1, 18), "1.18", types=35, etypes=36, gofunc=38, textsectmap=39, typelinks=42, itablinks=45),
    _Layout((1, 20), "1.20", types=37, etypes=38, gofunc=40, textsectmap=41, typelinks=44, itablinks=47),
    _Layout((1, 26), "1.20", types=37, etypes=38, gofunc=40, epclntab=41, textsectmap=42, typelinks=45, itablinks=48),
    _Layout((1, 27), "1.20", types=37, etypes=39, gofunc=43, epclntab=44, textsectmap=45,
            typedesclen=38, itaboffset=40),
)


def release_after(layout: tuple[int, int]) -> tuple[int, int] | None:
    """The first release whose moduledata differs from that layout; None for the newest."""
    return next((one.since for one in _LAYOUTS if one.since > layout), None)


def find_moduledata(elf: Container, header: PcHeader) -> ModuleData | None:
    """The moduledata of that function table; None when nothing that points at the table looks like one."""
    for address, words in _candidates(elf, header):
        for layout in _LAYOUTS:
            if layout.format == header.format and _fits(elf, header, layout, words):
                return _make(address, layout, words)
    return None


def points_at_table(elf: Container, header: PcHeader) -> bool:
    """Whether there is a moduledata of any layout: a Go module, though perhaps of a Go that is not known yet."""
    return any(True for _ in _candidates(elf, header))


def _candidates(elf: Container, header: PcHeader) -> Iterator[tuple[int, list[int]]]:
    """(address, words) of what starts like a moduledata: the header, then the parts that the header names."""
    if header.format == "1.2":  # the words of the slice ftab
        expected = {3: header.address + header.functab, 4: header.nfunc + 1, 5: header.nfunc + 1}
    else:
        expected = {1: header.address + header.funcname, 13: header.address + header.pcln}
    for address in elf.words_pointing_at(header.address):
        try:
            words = elf.pointers(address, _WORDS).tolist()
        except BadAddress:
            continue
        if all(words[index] == value for index, value in expected.items()):
            yield address, words


def _fits(elf: Container, header: PcHeader, layout: _Layout, words: list[int]) -> bool:
    minpc, _, text, etext = words[layout.minpc : layout.minpc + 4]
    # The linker writes one textsect per text section and never an empty map (cmd/link, textsectionmap).
    if layout.textsectmap:
        sections, count, capacity = words[layout.textsectmap : layout.textsectmap + 3]
        if not 1 <= count == capacity < 1 << 16 or elf.offset_of(sections) is None:
            return False
    if layout.epclntab and not header.address < words[layout.epclntab] < header.address + (1 << 32):
        return False
    if layout.typelinks and words[layout.typelinks + 1] != words[layout.typelinks + 2]:
        return False
    if layout.types and not words[layout.types] <= words[layout.etypes]:
        return False
    addresses = [text, *(words[index] for index in (layout.types, layout.gofunc) if index)]
    return text <= minpc < etext and all(elf.segment_of(address) is not None for address in addresses)


def _make(address: int, layout: _Layout, words: list[int]) -> ModuleData:
    def word(at: int) -> int:
        return words[at] if at else 0

    def pair(at: int) -> tuple[int, int]:
        return (words[at], words[at + 1]) if at else (0, 0)

    return ModuleData(
        address=address,
        layout=layout.since,
        text=words[layout.minpc + 2],
        etext=words[layout.minpc + 3],
        minpc=words[layout.minpc],
        maxpc=words[layout.minpc + 1],
        types=word(layout.types),
        etypes=word(layout.etypes),
        rodata=words[layout.gofunc - 1] if layout.gofunc else 0,
        gofunc=word(layout.gofunc),
        pclntable=(words[layout.pclntable], words[layout.pclntable + 1]),
        typelinks=pair(layout.typelinks),
        itablinks=pair(layout.itablinks),
        typedesclen=word(layout.typedesclen),
        itaboffset=word(layout.itaboffset),
        itabsize=words[layout.itaboffset + 1] if layout.itaboffset else 0,
        epclntab=word(layout.epclntab),
    )
