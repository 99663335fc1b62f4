"""Where values are read from: what an event brought along, the executable's read-only data, a live process."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from gotap.image.containers.elf import Elf
from gotap.image.errors import ImageError
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import CHUNK, EventFlags
from gotap.process.memory import Memory as ProcessMemory

PAGE_ABSENT = "page not in memory"
NOT_TAKEN = "not taken along"
PAGE = 4096

_PF_W = 2
_PT_GNU_RELRO = 0x6474E552
_MOST_CHUNKS = 1 << 12
_CHUNK = struct.Struct("<QII")
assert _CHUNK.size == CHUNK.itemsize


def deeper(limits: Limits) -> str:
    """Why a pointer was not followed."""
    return f"deeper than --max-depth {limits.depth}"


def loaded_range(elf: Elf) -> tuple[int, int]:
    """Start and end, unrelocated, of what the file itself loads: what lies in there was not allocated."""
    start = min((one.vaddr for one in elf.loads), default=0)
    return start, max((one.vaddr + one.memsz for one in elf.loads), default=0)


class Memory(Protocol):
    """A process's memory, as far as it is known. Addresses are the process's."""

    def prefix(self, address: int, size: int) -> bytes:
        """As many of `size` bytes from there as are known without a gap; never more."""
        ...

    def why(self, address: int) -> str:
        """Why the byte there is not known."""
        ...


class ImageMemory:
    """The segments of an executable that nothing writes to, relocated as its loader did, `bias` above the file's own.

    A position-independent executable has words in there that the loader set before it made them read-only.
    """

    def __init__(self, elf: Elf, bias: int = 0) -> None:
        self._elf = elf
        self._bias = bias
        fixed = [s for s in elf.loads if not s.flags & _PF_W] + [s for s in elf.segments if s.type == _PT_GNU_RELRO]
        self.ranges = sorted((s.vaddr + bias, s.vaddr + bias + min(s.filesz, s.memsz)) for s in fixed)
        self._sites, self._values = elf.relocated

    def prefix(self, address: int, size: int) -> bytes:
        for start, end in self.ranges:
            if start <= address < end:
                break
        else:
            return b""
        va, size = address - self._bias, min(size, end - address)
        try:
            content = self._elf.read(va, size)
        except ImageError:
            return b""
        return self._relocated(va, content) if len(self._sites) else content

    def why(self, address: int) -> str:
        return PAGE_ABSENT

    def _relocated(self, va: int, content: bytes) -> bytes:
        """Words that the loader sets; one at the edge counts too."""
        end = va + len(content)
        low, high = np.searchsorted(self._sites, np.array([max(va - 7, 0), end], np.uint64))
        if low == high:
            return content
        patched = bytearray(b"\0" * 8 + content + b"\0" * 8)
        for site, value in zip(self._sites[low:high].tolist(), self._values[low:high].tolist(), strict=True):
            at = site - va + 8
            patched[at : at + 8] = ((value + self._bias) & (1 << 64) - 1).to_bytes(8, "little")
        return bytes(patched[8:-8])


class Nothing:
    """No memory at all."""

    def prefix(self, address: int, size: int) -> bytes:
        return b""

    def why(self, address: int) -> str:
        return PAGE_ABSENT


class LiveMemory:
    """A process's memory as it is now: true of what does not change, and of a process that stands still."""

    def __init__(self, memory: ProcessMemory) -> None:
        self._memory = memory

    def prefix(self, address: int, size: int) -> bytes:
        whole = self._memory.read(address, size)
        if whole is not None:
            return whole
        # As far as its pages reach: halving finds the last one that is there.
        low, high = 0, size
        while high - low > 1:
            middle = (low + high) // 2
            if self._memory.read(address, middle) is None:
                high = middle
            else:
                low = middle
        return (self._memory.read(address, low) or b"") if low else b""

    def why(self, address: int) -> str:
        return PAGE_ABSENT


class Chunk(NamedTuple):
    """Bytes from an address on; `full`: how many there would have been."""

    address: int
    content: bytes
    full: int


class SnapshotMemory:
    """The chunks of one event, and where they are silent, what `beyond` knows.

    `absent` is why what no chunk tells is missing.
    """

    def __init__(self, chunks: Iterable[Chunk], beyond: Memory | None = None, absent: str = PAGE_ABSENT) -> None:
        self._beyond: Memory = beyond or Nothing()
        self._absent = absent
        self._ends: dict[int, str] = {}
        self._starts: list[int] = []
        self._pieces: list[bytes] = []
        self._gather(sorted(chunks))

    def _gather(self, chunks: list[Chunk]) -> None:
        """Joins chunks that touch or overlap: copies of one moment agree."""
        for address, content, full in chunks:
            if len(content) < full:
                self._ends[address + len(content)] = "cut" if content else PAGE_ABSENT
            if not content:
                continue
            if self._starts and address <= (end := self._starts[-1] + len(self._pieces[-1])):
                if address + len(content) > end:
                    self._pieces[-1] += content[end - address :]
            else:
                self._starts.append(address)
                self._pieces.append(content)

    def prefix(self, address: int, size: int) -> bytes:
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            at = address - self._starts[index]
            found = self._pieces[index][at : at + size]
            if found:
                return found
        return self._beyond.prefix(address, size)

    def why(self, address: int) -> str:
        return self._ends.get(address, self._absent)


class Moments:
    """The memory of one event at each moment at which it took values along: a call's entry and its end.

    What stood somewhere at the one may be something else at the other, so a value is read from its own moment's.
    """

    def __init__(self, memories: Sequence[tuple[int, Memory]]) -> None:
        """`memories`: with the positions in the record from which on values are theirs, ascending, the first one 0."""
        self._memories = memories

    def at(self, position: int) -> Memory:
        """The memory for a value whose own bytes are at that position of the record."""
        return next(memory for start, memory in reversed(self._memories) if start <= position or not start)


def moments(record: bytes, start: int, end: int, flags: int, limits: Limits, beyond: Memory | None) -> Moments:
    """The memory that a record brought along: its chunks stand between `start` and `end`.

    A chunk of address 0 holds values that were taken later, and the chunks behind it are theirs.
    """
    runs: list[tuple[int, list[Chunk]]] = [(0, [])]
    at = start
    left = _MOST_CHUNKS
    while at + CHUNK.itemsize <= end and left:
        left -= 1
        address, length, full = _CHUNK.unpack_from(record, at)
        if address:
            content = record[at + CHUNK.itemsize : min(at + CHUNK.itemsize + length, end)]
            runs[-1][1].append(Chunk(address, content, full))
        else:
            runs.append((at, []))
        at += CHUNK.itemsize + -(-length // 8) * 8
    absent = _absence(flags, limits)
    return Moments([(begin, SnapshotMemory(chunks, beyond, absent)) for begin, chunks in runs])


def snapshot(record: bytes, start: int, end: int, flags: int, limits: Limits, beyond: Memory | None) -> Memory:
    """The memory of a record's first moment."""
    return moments(record, start, end, flags, limits, beyond).at(0)


def _absence(flags: int, limits: Limits) -> str:
    if flags & EventFlags.DEPTH_CUT:
        return deeper(limits)
    if flags & EventFlags.HEAP_FULL:
        return f"beyond --max-bytes {limits.total}"
    return NOT_TAKEN
