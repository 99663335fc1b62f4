"""An executable's memory as its file describes it, whatever the format: segments, words, pointers.

Addresses are unrelocated virtual addresses. A format fills in the segments and says which words the loader changes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.image.containers.mapping import FileMap
from gotap.image.errors import BadAddress, MalformedFile

PT_LOAD = 1
PF_X, PF_W, PF_R = 1, 2, 4
PAGE = 0x1000
#: Bytes that one read gives: twice the largest table of relocations or types known.
_MAX_READ = 1 << 26
#: Zeros that one read may invent for memory without file bytes: far above any Go object, far below a memory bomb.
_MAX_ZEROS = 1 << 24
#: Bytes that one search looks through. The largest Go programs known are a quarter of it; holes in a file cost as much.
_MAX_SEARCHED = 1 << 30
#: Bytes that a search has in memory at once.
_STEP = 1 << 20
#: Hits of one search; a word that points at one place stands in a program a few times.
_MAX_HITS = 1 << 12

Words = NDArray[np.uint64]


class Segment(Struct, frozen=True):
    """What is loaded as one piece; sizes in bytes, `vaddr` unrelocated. `type` and `flags` as in an ELF program header.

    `name` is empty for ELF, whose segments have none.
    """

    type: int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    memsz: int
    name: str = ""


class Section(Struct, frozen=True):
    """A section header. `vaddr` is 0 for what is not loaded; a NOBITS section has no bytes at `offset`.

    `type` and `flags` are the format's own numbers.
    """

    name: str
    type: int
    flags: int
    vaddr: int
    offset: int
    size: int


class Note(Struct, frozen=True):
    """An entry of an ELF PT_NOTE segment; `owner` without its NUL."""

    owner: bytes
    type: int
    content: bytes


class Memory:
    """Reading by address. A format's class sets all attributes in its constructor, `loads` last of all."""

    data: bytes | mmap.mmap
    #: What messages call the file.
    name: str
    #: Bytes of the file.
    size: int
    bits: int
    big_endian: bool
    #: The segments that occupy memory.
    loads: tuple[Segment, ...] = ()

    @property
    def word_size(self) -> int:
        """Bytes of a pointer."""
        return self.bits // 8

    @property
    def order(self) -> str:
        """The byte order as struct and numpy write it."""
        return ">" if self.big_endian else "<"

    def give_back(self) -> None:
        """Lets go of the file's pages that were read, which count as this process's memory; they come back when needed.

        For whoever keeps the image but is done reading it: a search of a large program touches all of it.
        """
        if isinstance(self.data, mmap.mmap):
            self.data.madvise(mmap.MADV_DONTNEED)

    def check_unchanged(self) -> None:
        """For whoever is done reading. Raises ChangedFile when the file was cut or written to since it was opened."""
        if isinstance(self.data, FileMap):
            self.data.check()

    def notes(self) -> Iterator[Note]:
        """ELF's notes; other formats have none."""
        return iter(())

    # -- places -------------------------------------------------------------------------------------------------

    def segment_of(self, va: int) -> Segment | None:
        """The loadable segment whose memory holds the address."""
        for segment in self.loads:
            if 0 <= va - segment.vaddr < segment.memsz:
                return segment
        return None

    def offset_of(self, va: int) -> int | None:
        """The file offset behind an address; None outside the file-backed part of the segments."""
        for segment in self.loads:
            if 0 <= va - segment.vaddr < segment.filesz:
                return va - segment.vaddr + segment.offset
        return None

    def address_of(self, offset: int) -> int | None:
        """The address at which a file offset is loaded; None when it is not loaded."""
        for segment in self.loads:
            if 0 <= offset - segment.offset < segment.filesz:
                return offset - segment.offset + segment.vaddr
        return None

    def load_base(self) -> int:
        """The page-aligned address of the lowest segment: what a process's first mapping corresponds to.

        Raises MalformedFile when nothing is loadable.
        """
        if not self.loads:
            raise MalformedFile(f"{self.name} is malformed: it has no loadable segment", "build the file again")
        return min(s.vaddr for s in self.loads) & -PAGE

    # -- bytes and words ----------------------------------------------------------------------------------------

    def read(self, va: int, size: int) -> bytes:
        """Bytes as they stand in the file; zeros for BSS; raises BadAddress outside the segment that holds `va`."""
        segment = self.segment_of(va)
        if segment is None or not 0 <= size <= segment.memsz - (va - segment.vaddr):
            raise BadAddress(f"{self.name} has no {size} bytes at address {va:#x}")
        if size > _MAX_READ:
            raise BadAddress(f"{self.name} has {size} bytes at address {va:#x}, more than any table of Go's is long")
        at = va - segment.vaddr
        content = self.data[segment.offset + at : segment.offset + min(at + size, max(segment.filesz, at))]
        if len(content) < size:
            if size - len(content) > _MAX_ZEROS:
                raise BadAddress(f"{self.name} has {size} bytes at address {va:#x}, but not in the file")
            content += bytes(size - len(content))
        return content

    def u32(self, va: int) -> int:
        """The 32-bit word at an address, relocations ignored."""
        return int.from_bytes(self.read(va, 4), "big" if self.big_endian else "little")

    def u64(self, va: int) -> int:
        """The 64-bit word at an address, relocations ignored."""
        return int.from_bytes(self.read(va, 8), "big" if self.big_endian else "little")

    def word(self, va: int) -> int:
        """The word of a pointer's size at an address, relocations ignored."""
        return self.u64(va) if self.bits == 64 else self.u32(va)

    def cstring(self, va: int, limit: int = 4096) -> str:
        """The NUL-terminated text at an address. Raises BadAddress when no NUL follows within `limit` bytes."""
        offset, segment = self.offset_of(va), self.segment_of(va)
        if offset is not None and segment is not None:
            end = self.data.find(b"\0", offset, min(offset + limit, segment.offset + segment.filesz))
            if end >= 0:
                return self.data[offset:end].decode("utf-8", "replace")
        raise BadAddress(f"{self.name} has no text at address {va:#x}")

    # -- searches -----------------------------------------------------------------------------------------------

    def code_last(self) -> list[Segment]:
        """The segments that occupy memory, data that can be written first: where Go's tables and their owner stand."""
        return sorted(self.loads, key=lambda s: (bool(s.flags & PF_X), not s.flags & PF_W))

    def search(self, pattern: bytes, segments: Iterable[Segment] | None = None) -> Iterator[int]:
        """File offsets where the bytes stand, segment by segment (default: `code_last`); no byte is searched twice.

        Overlapping segments, which only a hostile file has, and holes of gigabytes cannot make it endless.
        """
        hits = 0
        for start, piece in self.pieces(self.code_last() if segments is None else segments, len(pattern) - 1):
            at = piece.find(pattern)
            while at >= 0 and hits < _MAX_HITS:
                yield start + at
                hits += 1
                at = piece.find(pattern, at + 1)

    def pieces(self, segments: Iterable[Segment], overlap: int) -> Iterator[tuple[int, bytes]]:
        """(File offset, content) of what a search looks through, `overlap` bytes of the next piece at each end.

        Copies: up to Python 3.11, a mapping's own find looks at one byte after the other, and its pages would stay.
        """
        for start, end in self._ranges(segments):
            for step in range(start, end, _STEP):
                piece = self.data[step : min(step + _STEP + overlap, end)]
                yield step, piece
                if isinstance(self.data, mmap.mmap):
                    self.data.madvise(mmap.MADV_DONTNEED, step & -PAGE, len(piece))

    def _ranges(self, segments: Iterable[Segment]) -> Iterator[tuple[int, int]]:
        """The segments' file ranges, (start, end), without holes, as far as a search may look through them."""
        left = _MAX_SEARCHED
        extents = self.data.extents if isinstance(self.data, FileMap) else None
        for low, high in _disjoint(segments):
            # A page of zeros on each side of the data, for patterns with zeros at their ends.
            within = [(low, high)] if extents is None else [
                (max(low, start - PAGE), min(high, end + PAGE)) for start, end in extents
            ]  # fmt: skip
            for start, end in within:
                end = min(end, start + left)
                left -= max(end - start, 0)
                yield start, end

    # -- pointers -----------------------------------------------------------------------------------------------

    @property
    def relocated(self) -> tuple[Words, Words]:
        """Where the loader gives a word another value than the file shows: (addresses sorted, values)."""
        none = np.zeros(0, np.uint64)
        return none, none

    def pointer(self, va: int) -> int:
        """The word at an address as it is at run time, short of the load bias. Raises BadAddress."""
        sites, values = self.relocated
        i = int(np.searchsorted(sites, np.uint64(va))) if 0 <= va < 1 << 64 else len(sites)
        if i < len(sites) and int(sites[i]) == va:
            return int(values[i])
        return self.word(va)

    def pointers(self, va: int, count: int) -> Words:
        """`count` consecutive words, as `pointer` gives them."""
        size = self.word_size
        words = np.frombuffer(self.read(va, size * count), f"{self.order}u{size}").astype(np.uint64)
        sites, values = self.relocated
        if not len(sites):
            return words
        low, high = np.searchsorted(sites, np.array([va, va + size * count], np.uint64))
        places = sites[low:high] - np.uint64(va)
        aligned = places % size == 0
        words[(places[aligned] // size).astype(np.int64)] = values[low:high][aligned]
        return words

    def words_pointing_at(self, target: int) -> Iterator[int]:
        """Addresses of the aligned words whose `pointer` is `target`, relocated ones first, then data before code."""
        sites, values = self.relocated
        yield from (int(site) for site in sites[values == np.uint64(target)][:_MAX_HITS])
        size = self.word_size
        if target >> self.bits:
            return
        for offset in self.search(target.to_bytes(size, "big" if self.big_endian else "little")):
            va = self.address_of(offset)
            if va is not None and va % size == 0:
                yield va


def _disjoint(segments: Iterable[Segment]) -> Iterator[tuple[int, int]]:
    """File ranges of the segments in their order, without what an earlier one has."""
    seen: list[tuple[int, int]] = []
    for segment in segments:
        pieces: Sequence[tuple[int, int]] = [(segment.offset, segment.offset + segment.filesz)]
        for low, high in seen:
            pieces = [
                piece
                for start, end in pieces
                for piece in ((start, min(end, low)), (max(start, high), end))
                if piece[0] < piece[1]
            ]
        yield from pieces
        seen += pieces
