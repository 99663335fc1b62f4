"""Mach-O executables (macOS, iOS): 32 and 64 bits, both byte orders, thin and in fat files.

Sources: mach-o/loader.h, mach-o/fat.h, mach-o/nlist.h; what Go writes: cmd/link/internal/ld/macho.go, Go 1.27.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NoReturn

import numpy as np

from gotap.image.containers.elf_sections import MAX_CONTENT, MAX_SYMBOLS
from gotap.image.containers.macho_fixups import Fixups
from gotap.image.containers.memory import PF_R, PF_W, PF_X, PT_LOAD, Memory, Section, Segment, Words
from gotap.image.errors import MalformedFile, NotExecutable, TruncatedFile

#: First four bytes → (bits, byte order)
MAGICS = {b"\xce\xfa\xed\xfe": (32, "<"), b"\xcf\xfa\xed\xfe": (64, "<"), b"\xfe\xed\xfa\xce": (32, ">"),
          b"\xfe\xed\xfa\xcf": (64, ">")}  # fmt: skip
FAT_MAGICS = {b"\xca\xfe\xba\xbe": ">IIIII", b"\xca\xfe\xba\xbf": ">IIQQII"}
#: More slices than this is a Java class, whose version stands where a fat file has its count.
_MAX_SLICES = 30

_ARM64 = 0x0100000C
_GOARCH = {7: "386", 0x01000007: "amd64", 12: "arm", _ARM64: "arm64", 18: "ppc", 0x01000012: "ppc64"}
_EXECUTE, _DYLIB, _BUNDLE = 2, 6, 8
_KINDS = {1: "object file", 4: "core dump", 7: "dynamic linker", 10: "file of debug information"}
_FLAG_PIE = 0x200000
_SEGMENT, _SYMTAB, _UNIXTHREAD, _LOAD_DYLINKER, _SEGMENT_64 = 0x1, 0x2, 0x5, 0xE, 0x19
_MAIN, _CHAINED_FIXUPS, _BUILD_VERSION = 0x80000028, 0x80000034, 0x32
_DYLIBS = {0xC, 0x80000018, 0x8000001F, 0x20, 0x80000023}  # load, weak, re-export, lazy, upward
_PLATFORMS = {1: "darwin", 2: "ios", 3: "tvos", 4: "watchos", 6: "darwin", 7: "ios", 8: "tvos", 9: "watchos"}
_VERSION_MIN = {0x24: "darwin", 0x25: "ios", 0x2F: "tvos", 0x30: "watchos"}
#: cputype → (register words before the program counter, bits of a register) in LC_UNIXTHREAD's state
_THREAD_PC = {7: (10, 32), 0x01000007: (16, 64), 12: (15, 32), _ARM64: (32, 64), 18: (0, 32), 0x01000012: (0, 64)}
_MAX_COMMANDS = 1 << 10
_MAX_SECTIONS = 1 << 12


class MachO(Memory):
    """One Mach-O image, which in a fat file is one slice. File offsets count from the start of the whole file."""

    format = "macho"

    def __init__(self, buffer: bytes | mmap.mmap, name: str = "the file", start: int = 0, size: int | None = None):
        """`start` and `size`: where the image is in the buffer. Raises NotExecutable, TruncatedFile, MalformedFile."""
        self.data, self.name, self.size, self._start = buffer, name, len(buffer), start
        self._end = self.size if size is None else start + size
        if self._end > self.size or start + 32 > self._end:
            self._truncated("the header")
        self.bits, order = MAGICS.get(self.data[start : start + 4], (0, ""))
        if not order:
            raise NotExecutable(f"{name} is not a Mach-O file", "name a Mach-O executable")
        self.big_endian = order == ">"
        #: GOARCH of every slice of the fat file that it was taken from, itself included; empty if it is none.
        self.slices: tuple[str, ...] = ()
        self._cputype, _, self.type, count, _, self._flags = struct.unpack_from(order + "IIIIII", self.data, start + 4)
        if self.type in _KINDS:
            raise NotExecutable(f"{name} is a Mach-O {_KINDS[self.type]}, not an executable",
                                "name the program linked from it", _KINDS[self.type])  # fmt: skip
        self.sections: dict[str, Section] = {}
        self.entry = 0
        self.interpreter: str | None = None
        self.os = "darwin"
        self._symtab = self._strings = self._chains_at = (0, 0)
        self._libraries: list[str] = []
        self.segments = self._read_commands(count)
        # __PAGEZERO keeps addresses free and can be neither read nor written.
        self.loads = tuple(segment for segment in self.segments if segment.memsz and segment.flags)

    # -- load commands ------------------------------------------------------------------------------------------

    def _read_commands(self, count: int) -> tuple[Segment, ...]:
        if count > _MAX_COMMANDS:
            self._malformed(f"{count} load commands")
        at, main = self._start + (32 if self.bits == 64 else 28), None
        segments: list[Segment] = []
        for _ in range(count):
            if at + 8 > self._end:
                self._truncated("its load commands")
            command, size = struct.unpack_from(self.order + "II", self.data, at)
            if size < 8 or at + size > self._end:
                self._malformed(f"a load command of {size} bytes")
            body = self.data[at : at + size]
            try:
                if command in (_SEGMENT, _SEGMENT_64):
                    segments.append(self._segment(body, command == _SEGMENT_64))
                elif command == _MAIN:
                    (main,) = struct.unpack_from(self.order + "Q", body, 8)
                else:
                    self._command(command, body)
            except struct.error:
                self._malformed(f"a load command {command:#x} of only {size} bytes")
            at += size
        if main is not None:
            self.entry = _header_address(segments, self._start) + main
        return tuple(segments)

    def _command(self, command: int, body: bytes) -> None:
        unpack = struct.Struct(self.order + "II").unpack_from
        if command == _SYMTAB:
            self._symtab = unpack(body, 8)
            self._strings = unpack(body, 16)
        elif command in _DYLIBS:
            self._libraries.append(_text(body, *unpack(body, 8)[:1]))
        elif command == _LOAD_DYLINKER:
            self.interpreter = _text(body, *struct.unpack_from(self.order + "I", body, 8))
        elif command == _UNIXTHREAD and self._cputype in _THREAD_PC:
            words, bits = _THREAD_PC[self._cputype]
            (self.entry,) = struct.unpack_from(self.order + ("Q" if bits == 64 else "I"), body, 16 + words * bits // 8)
        elif command == _CHAINED_FIXUPS:
            self._chains_at = unpack(body, 8)
        elif command == _BUILD_VERSION:
            self.os = _PLATFORMS.get(unpack(body, 8)[0], "darwin")
        elif command in _VERSION_MIN:
            self.os = _VERSION_MIN[command]

    def _segment(self, body: bytes, wide: bool) -> Segment:
        header = struct.Struct(self.order + ("16sQQQQIIII" if wide else "16sIIIIIIII"))
        raw, vaddr, memsz, offset, filesz, _, rights, count, _ = header.unpack_from(body, 8)
        name = _name(raw)
        offset += self._start
        if offset + filesz > self._end:
            self._truncated(f"the segment {name}")
        if vaddr + memsz > 1 << self.bits:
            self._malformed(f"a segment {name} of impossible size")
        entry = struct.Struct(self.order + ("16s16sQQIIIIIIII" if wide else "16s16sIIIIIIIII"))
        if count > _MAX_SECTIONS or len(self.sections) + count > _MAX_SECTIONS:
            self._malformed(f"{count} sections in the segment {name}")
        for i in range(count):
            section, owner, address, size, start, *_, flags, _, _ = entry.unpack_from(
                body, 8 + header.size + entry.size * i)[: 11]  # fmt: skip
            key = f"{_name(owner)},{_name(section)}"
            self.sections.setdefault(key, Section(key, flags & 0xFF, flags, address, start + self._start, size))
        # VM_PROT_READ, WRITE, EXECUTE are 1, 2, 4; ELF's are the other way round.
        flags = sum(ours for theirs, ours in ((1, PF_R), (2, PF_W), (4, PF_X)) if rights & theirs)
        return Segment(PT_LOAD, flags, offset, vaddr, min(filesz, memsz), memsz, name)

    @property
    def header_address(self) -> int:
        """Where the Mach-O header is loaded: the segment that begins at the start of the file."""
        return _header_address(self.segments, self._start)

    @property
    def arch(self) -> str:
        """The GOARCH of the machine, or "machine N" for one that Go does not know."""
        return arch_of(self._cputype)

    @property
    def is_pie(self) -> bool:
        return bool(self._flags & _FLAG_PIE) and self.type == _EXECUTE

    @property
    def is_library(self) -> bool:
        return self.type in (_DYLIB, _BUNDLE)

    @property
    def needed(self) -> tuple[str, ...]:
        """The dynamic libraries it asks for, as paths."""
        return tuple(self._libraries)

    # -- pointers -----------------------------------------------------------------------------------------------

    @cached_property
    def _fixups(self) -> Fixups | None:
        at, size = self._chains_at
        at += self._start
        if not size or at + size > self._end:
            return None
        return Fixups(self.data, self.order, self.header_address, self.data[at : at + size], list(self.segments))

    def pointer(self, va: int) -> int:
        """See `Memory.pointer`. The values of the older rebase tables stand in the words themselves."""
        value = self._fixups.value(va) if self._fixups is not None else None
        return self.word(va) if value is None else value

    def pointers(self, va: int, count: int) -> Words:
        """See `Memory.pointers`."""
        words = super().pointers(va, count)
        if self._fixups is not None:
            size = self.word_size
            for at, value in self._fixups.between(va, va + size * count):
                if (at - va) % size == 0:
                    words[(at - va) // size] = np.uint64(value & (1 << 64) - 1)
        return words

    def words_pointing_at(self, target: int) -> Iterator[int]:
        """See `Memory.words_pointing_at`."""
        if self._fixups is not None:
            yield from self._fixups.pointing_at(target)
        yield from super().words_pointing_at(target)

    # -- symbols ------------------------------------------------------------------------------------------------

    @property
    def has_symtab(self) -> bool:
        """Whether it has symbols of its own; the table of a stripped file holds imports and the header's name."""
        return len(self._symbols) > 1

    @property
    def has_dwarf(self) -> bool:
        return any(name in self.sections for name in ("__DWARF,__debug_info", "__DWARF,__zdebug_info"))

    def symbols(self) -> dict[str, tuple[int, int]]:
        """The symbol table: name → (address, 0), what a section defines; it knows no sizes."""
        return self._symbols

    @cached_property
    def _symbols(self) -> dict[str, tuple[int, int]]:
        (at, count), size = self._symtab, 16 if self.bits == 64 else 12
        if not count or self._start + at + count * size > self._end:
            return {}
        strings_at, strings_size = self._strings
        strings_size = min(strings_size, MAX_CONTENT)
        names = self.data[self._start + strings_at : min(self._start + strings_at + strings_size, self._end)]
        layout = np.dtype([("name", "u4"), ("type", "u1"), ("section", "u1"), ("desc", "u2"),
                           ("value", f"u{size - 8}")]).newbyteorder(">" if self.big_endian else "<")  # fmt: skip
        rows = np.frombuffer(self.data, layout, count, self._start + at)
        # N_STAB (0xE0) is debugging; N_SECT (0x0E of N_TYPE) is defined in a section.
        rows = rows[(rows["type"] & 0xE0 == 0) & (rows["type"] & 0x0E == 0x0E)][:MAX_SYMBOLS]
        symbols: dict[str, tuple[int, int]] = {}
        left = 8 * len(names) + (1 << 16)  # names that share their ends must not unfold without bound
        for name_at, value in zip(rows["name"].tolist(), rows["value"].tolist(), strict=True):
            end = names.find(b"\0", name_at)
            left -= max(end - name_at, 0)
            if left < 0:
                break
            symbols.setdefault(names[name_at:end].decode("utf-8", "replace"), (value, 0))
        return symbols

    # -- errors -------------------------------------------------------------------------------------------------

    def _truncated(self, what: str) -> NoReturn:
        raise TruncatedFile(f"{self.name} is cut off: it ends before {what}", "copy or build the file again")

    def _malformed(self, what: str) -> NoReturn:
        raise MalformedFile(f"{self.name} is a malformed Mach-O file: it has {what}", "build the file again")


def arch_of(cputype: int) -> str:
    """The GOARCH of a cputype, or "machine N"."""
    return _GOARCH.get(cputype, f"machine {cputype}")


def is_fat(head: bytes) -> bool:
    """Whether a file that starts so is a fat one, and not a Java class, which has the same magic."""
    return head[:4] in FAT_MAGICS and len(head) >= 8 and int.from_bytes(head[4:8], "big") <= _MAX_SLICES


def from_fat(buffer: bytes | mmap.mmap, name: str = "the file") -> MachO:
    """The slice for amd64, else for arm64, else the first; `slices` names all. Raises as MachO does."""
    entry = struct.Struct(FAT_MAGICS[buffer[:4]])
    count = int.from_bytes(buffer[4:8], "big")
    if 8 + count * entry.size > len(buffer):
        raise TruncatedFile(f"{name} is cut off in its table of slices", "copy or build the file again")
    slices = [entry.unpack_from(buffer, 8 + entry.size * i) for i in range(count)]
    if not slices:
        raise MalformedFile(f"{name} is a fat Mach-O file without a slice", "build the file again")
    arches = [arch_of(one[0]) for one in slices]
    wanted = next((arch for arch in ("amd64", "arm64") if arch in arches), arches[0])
    _, _, start, size, *_ = slices[arches.index(wanted)]
    found = MachO(buffer, name, start, size)
    found.slices = tuple(arches)
    return found


def _header_address(segments: Sequence[Segment], start: int) -> int:
    return next((s.vaddr for s in segments if s.offset == start and s.filesz), 0)


def _name(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _text(body: bytes, at: int) -> str:
    return _name(body[at:])
