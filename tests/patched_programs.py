"""Go executables in which jumps stand at jump sites already: a copy of the file with trampolines as further segments.

Every trampoline counts its event. Where a site says that R12, R13 and the flags mean nothing, the trampoline destroys
them. Position-independent programs must be started by `setarch -R`, since return addresses are absolute.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gotap.image.code import Callees, FunctionCode
from gotap.image.code.jumps import JumpSite, JumpSites, UnsafePoints, jump
from gotap.image.errors import ImageError
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image

#: Where Linux loads position-independent programs that are not randomised (ELF_ET_DYN_BASE).
_BASE = 0x555555554000
_PAGE = 4096
_ET_DYN = 3
_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
_LOAD, _PHDR, _R, _RX, _RW = 1, 6, 4, 5, 6
#: Distances from the image's start to the window without pun, and to the counters. No instruction begins with 6 or 7,
#: so that no pun leads there.
_NEAR, _COUNTERS = 0x0680_0000, 0x0780_0000
#: Puns from there on lead so far that not all of the image can be reached.
_TOO_FAR = 0x7E
#: A jump with its top byte given reaches 16 MB: as much text shares a window, of at most four.
_PART = 4 << 20

#: Chooses addresses of events in a function.
Chooser = Callable[[Function, FunctionCode, UnsafePoints], Iterable[int]]


@dataclass
class GoCode:
    """The machine code of a Go executable's functions, as gotap's binding reads it."""

    path: Path

    @cached_property
    def image(self) -> Image:
        return Image.open(self.path)

    @cached_property
    def callees(self) -> Callees:
        table = self.image.pclntab
        return Callees.of(zip(table.names, table.addresses.tolist(), strict=True))

    def functions(self) -> Iterator[tuple[Function, FunctionCode, UnsafePoints]]:
        """All functions that have code."""
        for function in self.image.pclntab.functions():
            if function.size:
                yield function, self.code(function), UnsafePoints.of(self.image.pclntab, function)

    def code(self, function: Function) -> FunctionCode:
        code = self.image.code(function)
        return FunctionCode(code, function.address, callees=self.callees, read=self.read)

    def read(self, address: int, size: int) -> bytes | None:
        """Words with relocations applied."""
        try:
            words = [self.image.elf.pointer(address + at) for at in range(0, size, 8)]
        except ImageError:
            return None
        return b"".join(word.to_bytes(8, "little") for word in words)[:size]


@dataclass
class _Window:
    """Code that is to be loaded at an address of the image."""

    address: int
    code: bytearray = field(default_factory=bytearray)


@dataclass
class Patched:
    """The copy. `sites` with the function that each is in; the counter of the nth is the nth word at `counters`."""

    path: Path
    bias: int
    counters: int
    sites: list[tuple[Function, JumpSite]]
    refused: int

    def counts(self, pid: int) -> dict[int, int]:
        """How often each event happened in a process of it, by the event's address in the image."""
        with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
            memory.seek(self.counters + self.bias)
            words = struct.unpack(f"<{len(self.sites)}Q", memory.read(8 * len(self.sites)))
        return {site.address: count for (_, site), count in zip(self.sites, words, strict=True)}


class Patcher:
    """Patches one file."""

    def __init__(self, program: GoCode, *, puns: bool = True) -> None:
        self._program = program
        self._data = bytearray(program.path.read_bytes())
        self._header = _HEADER.unpack_from(self._data)
        self._lowest = lowest = min(address for address, _ in self._loaded()) & -_PAGE
        self._bias = _BASE - lowest if self._header[1] == _ET_DYN else 0
        self._puns = puns
        self._windows: dict[tuple[int | None, int], _Window] = {}
        self._patches: list[tuple[int, bytes, bytes]] = []
        self._near = lowest + _NEAR
        self._counters = lowest + _COUNTERS
        assert all(address + size < self._near for address, size in self._loaded())
        self._sites: list[tuple[Function, JumpSite]] = []
        self._refused = 0

    def _loaded(self) -> list[tuple[int, int]]:
        table = [self._header[5] + _SEGMENT.size * i for i in range(self._header[10])]
        segments = [_SEGMENT.unpack_from(self._data, at) for at in table]
        return [(segment[3], segment[6]) for segment in segments if segment[0] == _LOAD]

    def patch(self, choose: Chooser) -> None:
        for function, code, unsafe in self._program.functions():
            wanted = list(choose(function, code, unsafe))
            found = JumpSites(code, unsafe, puns=self._puns).spread(wanted) if wanted else {}
            for site in found.values():
                if isinstance(site, JumpSite) and (site.pun is None or site.pun < _TOO_FAR):
                    self._place(function, site)
                else:
                    self._refused += 1

    def _place(self, function: Function, site: JumpSite) -> None:
        window = self._window(site)
        at = window.address + len(window.code)
        code = site.before.encode(at, self._bias)
        code += self._count(site, at + len(code))
        code += site.after.encode(at + len(code), self._bias)
        if site.resume is not None:
            code += jump(at + len(code), site.resume)
        window.code += code
        offset = self._program.image.elf.offset_of(site.start)
        assert offset is not None
        new = jump(site.start, at)
        if site.pun is not None:
            assert new[4] == site.pun == self._data[offset + 4], site
            new = new[:4]
        new += b"\xcc" * (site.length - len(new))
        self._data[offset : offset + len(new)] = new
        self._sites.append((function, site))

    def _window(self, site: JumpSite) -> _Window:
        """Where the jump leads; those with a byte given serve a part of the text each."""
        part = 0 if site.pun is None else (site.start - self._lowest) // _PART
        if (site.pun, part) not in self._windows:
            far = _NEAR if site.pun is None else (part + 1) * _PART + (site.pun << 24)
            self._windows[site.pun, part] = _Window(self._lowest + far)
        return self._windows[site.pun, part]

    def _count(self, site: JumpSite, at: int) -> bytes:
        counter = self._counters + 8 * len(self._sites)
        if site.scratch:
            before, after = bytes.fromhex("49bc deadbeefdeadbeef 49bd deadbeefdeadbeef"), b""
        else:
            before, after = b"\x9c", b"\x9d"  # pushf, popf
        distance = counter - (at + len(before) + 8)
        return before + b"\xf0\x48\xff\x05" + distance.to_bytes(4, "little", signed=True) + after

    def write(self, path: Path) -> Patched:
        """The patched file: new segments behind the old content, of which one holds the new table of segments."""
        old = [_SEGMENT.unpack_from(self._data, self._header[5] + _SEGMENT.size * i) for i in range(self._header[10])]
        new = [self._append(one.address, one.code, len(one.code), _RX) for one in self._windows.values()]
        size = 8 * len(self._sites) + _PAGE & -_PAGE
        new.append(self._append(self._counters, bytearray(), size, _RW))
        room = _SEGMENT.size * (len(old) + len(new) + 1)
        table = self._append(self._counters + size, bytearray(room), room, _R)
        entry = (_PHDR, *table[1:])
        others = [entry if one[0] == _PHDR else one for one in old if one[0] != _LOAD]  # C libraries look for it
        loaded = sorted((one for one in (*old, *new, table) if one[0] == _LOAD), key=lambda one: one[3])
        content = b"".join(_SEGMENT.pack(*one) for one in (*others, *loaded))
        self._data[table[2] : table[2] + len(content)] = content
        header = list(self._header)
        header[5], header[10] = table[2], len(others) + len(loaded)
        _HEADER.pack_into(self._data, 0, *header)
        path.write_bytes(self._data)
        path.chmod(0o755)
        return Patched(path, self._bias, self._counters, self._sites, self._refused)

    def _append(self, address: int, content: bytearray, size: int, flags: int) -> tuple[int, ...]:
        self._data += bytes(-len(self._data) % _PAGE)
        offset = len(self._data)
        self._data += content
        return (_LOAD, flags, offset, address, address, len(content), size, _PAGE)
