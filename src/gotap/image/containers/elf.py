"""ELF executables: addresses, words, relocations, and what sections there are; 32 and 64 bits, both byte orders.

Program headers are the truth, because the kernel runs by them. The section table is a hint: linkers rename its
entries, `strip` and hostile loaders remove it, and 1.27's own `go version` fails without it.
Every number from the file is checked before it is used to seek or to allocate.
Sources: System V gABI chapters 4 and 5.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gotap.image.containers.elf_machines import goarch, goos
from gotap.image.containers.elf_relocations import relocated_words
from gotap.image.containers.elf_sections import (
    MAX_CONTENT,
    SHF_COMPRESSED,
    SHT_NOBITS,
    SHT_SYMTAB,
    decompressed,
    inflate,
    read_sections,
    read_symbols,
)
from gotap.image.containers.mapping import map_file
from gotap.image.containers.memory import PT_LOAD, Memory, Note, Section, Segment
from gotap.image.errors import MalformedFile, NotExecutable, TruncatedFile

ET_EXEC, ET_DYN = 2, 3
PT_DYNAMIC, PT_INTERP, PT_NOTE = 2, 3, 4
DT_NEEDED, DT_STRTAB, DT_FLAGS_1, DF_1_PIE = 1, 5, 0x6FFFFFFB, 0x08000000

#: Program headers, and entries of what they lead to: far above any program, far below what takes time.
_MAX_SEGMENTS = 256
_MAX_ENTRIES = 1 << 12
#: Bytes of a note; those of executables are read for their IDs.
_MAX_NOTE = 1 << 16


class NotElf(NotExecutable):
    """The file does not start with an ELF header."""


class Elf(Memory):
    """One ELF image over a bytes-like buffer. The header is read at once, all else when first asked for."""

    format = "elf"

    def __init__(self, buffer: bytes | bytearray | memoryview | mmap.mmap, name: str = "the file") -> None:
        """`name` is what messages call it. Raises NotElf, TruncatedFile, MalformedFile."""
        self.data = buffer if isinstance(buffer, bytes | mmap.mmap) else bytes(buffer)
        self.name = name
        self.size = len(self.data)
        ident = self.data[:16]
        if ident[:4] != b"\x7fELF":
            raise NotElf(f"{name} is not an ELF file: it does not start with \\x7fELF", "name a Linux executable")
        if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            self._truncated("its identification")
        self.bits = 64 if ident[4] == 2 else 32
        self.big_endian = ident[5] == 2
        self._osabi = ident[7]
        header = struct.Struct(self.order + ("HHIQQQIHHHHHH" if self.bits == 64 else "HHIIIIIHHHHHH"))
        if self.size < 16 + header.size:
            self._truncated("its header")
        (self.type, self.machine, _, self.entry, phoff, self._shoff, _, _, phentsize, phnum,
         self._shentsize, self._shnum, self._shstrndx) = header.unpack_from(self.data, 16)  # fmt: skip
        self.segments: tuple[Segment, ...] = self._program_headers(phoff, phentsize, phnum) if phnum else ()
        self.loads = tuple(s for s in self.segments if s.type == PT_LOAD and s.memsz)

    @classmethod
    def open(cls, path: str | os.PathLike[str], name: str = "") -> Elf:
        """Maps the file, read-only. Raises UnreadableFile besides what the constructor raises. `name`: for messages."""
        return cls(map_file(path, name), name or os.fspath(path))

    # -- headers ------------------------------------------------------------------------------------------------

    def _program_headers(self, offset: int, entry_size: int, count: int) -> tuple[Segment, ...]:
        header = struct.Struct(self.order + ("IIQQQQQQ" if self.bits == 64 else "IIIIIIII"))
        if entry_size != header.size:
            self._malformed(f"program headers of {entry_size} bytes instead of {header.size}")
        if count > _MAX_SEGMENTS:
            self._malformed(f"{count} program headers; programs have a dozen")
        if offset + header.size * count > self.size:
            self._truncated("its program headers")
        segments = []
        for at in range(offset, offset + header.size * count, header.size):
            if self.bits == 64:
                type_, flags, start, vaddr, _, filesz, memsz, _ = header.unpack_from(self.data, at)
            else:
                type_, start, vaddr, _, filesz, memsz, flags, _ = header.unpack_from(self.data, at)
            if type_ == PT_LOAD:
                if start + filesz > self.size:
                    self._truncated(f"the segment at {vaddr:#x}, which ends at file offset {start + filesz:#x}")
                if filesz > memsz or vaddr + memsz > 1 << self.bits:
                    self._malformed(f"a segment at {vaddr:#x} of impossible size")
            segments.append(Segment(type_, flags, start, vaddr, filesz, memsz))
        return tuple(segments)

    @property
    def little_endian(self) -> bool:
        return not self.big_endian

    @property
    def arch(self) -> str:
        """The GOARCH of the machine ("amd64", "386", …), or "machine N" for one that Go does not know."""
        return goarch(self.machine, self.bits, self.big_endian)

    @cached_property
    def os(self) -> str:
        """The GOOS, by OS ABI, notes and dynamic loader; "linux" where nothing says otherwise."""
        return goos(self._osabi, {note.owner for note in self.notes()}, self.interpreter or "")

    # -- sections -----------------------------------------------------------------------------------------------

    @cached_property
    def sections(self) -> dict[str, Section]:
        """Sections by name; empty when there is no section table or it does not lie in the file."""
        return read_sections(
            self.data, self.bits, self.order, self._shoff, self._shnum, self._shentsize, self._shstrndx
        )

    def section_data(self, name: str) -> bytes | None:
        """The section's bytes, decompressed; None when there is none of that name or it has no bytes in the file.

        `.debug_x` also finds `.zdebug_x`, the GNU form before SHF_COMPRESSED that Go ≤ 1.18 writes.
        Raises TruncatedFile, MalformedFile.
        """
        section = self.sections.get(name)
        old_form = section is None and name.startswith(".debug_")
        if old_form:
            section = self.sections.get(".z" + name[1:])
        if section is None or section.type == SHT_NOBITS:
            return None
        if section.offset + section.size > self.size:
            self._truncated(f"section {name}")
        if section.size > MAX_CONTENT:
            self._malformed(f"a section {name} of {section.size} bytes, more than are read")
        content = self.data[section.offset : section.offset + section.size]
        what = f"section {name} of {self.name}"
        if section.flags & SHF_COMPRESSED:
            return decompressed(content, self.bits, self.order, what)
        if old_form and content[:4] == b"ZLIB" and len(content) >= 12:
            return inflate(content[12:], int.from_bytes(content[4:12], "big"), what)
        return content

    @cached_property
    def has_symtab(self) -> bool:
        return any(section.type == SHT_SYMTAB for section in self.sections.values())

    @property
    def has_dwarf(self) -> bool:
        return ".debug_info" in self.sections or ".zdebug_info" in self.sections

    def symbols(self) -> dict[str, tuple[int, int]]:
        """The symbol table: name → (address, size), defined symbols only, the first of a name; empty if stripped."""
        return self._symbols

    @cached_property
    def _symbols(self) -> dict[str, tuple[int, int]]:
        table, names = self.section_data(".symtab"), self.section_data(".strtab")
        return {} if table is None or names is None else read_symbols(table, names, self.bits, self.order)

    # -- dynamic linking and notes ------------------------------------------------------------------------------

    @cached_property
    def relocated(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """See `Memory.relocated`."""
        return relocated_words(self)

    @cached_property
    def dynamic(self) -> dict[int, tuple[int, ...]]:
        """The dynamic section: tag → its values in file order; empty for a static executable."""
        tags: dict[int, list[int]] = {}
        entry = struct.Struct(self.order + ("QQ" if self.bits == 64 else "II"))
        for segment in self._segments_of(PT_DYNAMIC):
            size = min(segment.filesz, _MAX_ENTRIES * entry.size) // entry.size * entry.size
            for tag, value in entry.iter_unpack(self.data[segment.offset : segment.offset + size]):
                if tag == 0:
                    break
                tags.setdefault(tag, []).append(value)
        return {tag: tuple(values) for tag, values in tags.items()}

    def tag(self, tag: int) -> int:
        """The first value of a dynamic tag, 0 if there is none."""
        return self.dynamic.get(tag, (0,))[0]

    def _segments_of(self, type_: int) -> Iterator[Segment]:
        for segment in self.segments:
            if segment.type == type_:
                if segment.offset + segment.filesz > self.size:
                    self._truncated(f"a program header of type {type_}")
                yield segment

    @property
    def is_pie(self) -> bool:
        """Position-independent executable, static-pie included; a shared library is none."""
        flagged = bool(self.tag(DT_FLAGS_1) & DF_1_PIE)
        return self.type == ET_DYN and (flagged or self.interpreter is not None)

    @property
    def is_library(self) -> bool:
        """A shared object that is no executable: c-shared, plugin, shared."""
        return self.type == ET_DYN and not self.is_pie

    @cached_property
    def interpreter(self) -> str | None:
        """The dynamic loader's path (PT_INTERP), None for a static executable."""
        for segment in self._segments_of(PT_INTERP):
            return self.data[segment.offset : segment.offset + min(segment.filesz, 4096)].rstrip(b"\0").decode(
                "utf-8", "replace")  # fmt: skip
        return None

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The shared libraries it asks for (DT_NEEDED)."""
        return tuple(self.cstring(self.tag(DT_STRTAB) + at) for at in self.dynamic.get(DT_NEEDED, ()))

    def notes(self) -> Iterator[Note]:
        """The entries of all PT_NOTE segments; a broken one ends its segment."""
        header, left = struct.Struct(self.order + "III"), _MAX_ENTRIES
        for segment in self._segments_of(PT_NOTE):
            at, end = segment.offset, segment.offset + segment.filesz
            while at + 12 <= end and left > 0:
                owner_size, size, type_ = header.unpack_from(self.data, at)
                content = at + 12 + (owner_size + 3) // 4 * 4
                if content + size > end or size > _MAX_NOTE:
                    break
                owner = self.data[at + 12 : at + 12 + min(owner_size, 64)].rstrip(b"\0")
                yield Note(owner, type_, self.data[content : content + size])
                at = content + (size + 3) // 4 * 4
                left -= 1

    # -- errors -------------------------------------------------------------------------------------------------

    def _truncated(self, what: str) -> NoReturn:
        raise TruncatedFile(
            f"{self.name} is cut off: its {self.size} bytes end before {what}", "copy or build the file again"
        )

    def _malformed(self, what: str) -> NoReturn:
        raise MalformedFile(f"{self.name} is a malformed ELF file: it has {what}", "build the file again")
