"""ELF executables: addresses, words, relocations, and what sections there are.

Program headers are the truth, because the kernel runs by them. The section table is a hint: linkers rename its
entries, `strip` and hostile loaders remove it, and 1.27's own `go version` fails without it.
Every number from the file is checked before it is used to seek or to allocate.
Sources: System V gABI chapters 4 and 5 (RELR and SHF_COMPRESSED included), AMD64 and AArch64 psABI.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import NoReturn

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.errors import GotapError

ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PF_X, PF_W, PF_R = 1, 2, 4
SHT_SYMTAB, SHT_NOBITS = 2, 8
SHF_COMPRESSED = 0x800
DT_NEEDED, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ = 1, 5, 6, 7, 8
DT_FLAGS_1, DF_1_PIE = 0x6FFFFFFB, 0x08000000
EM_386, EM_ARM, EM_X86_64, EM_AARCH64 = 3, 40, 62, 183

#: EM number → GOARCH, for those whose name depends on nothing else.
_GOARCH = {EM_386: "386", EM_ARM: "arm", EM_X86_64: "amd64", EM_AARCH64: "arm64", 22: "s390x", 243: "riscv64",
           258: "loong64"}  # fmt: skip
#: Relocation types `base + addend` and `symbol + addend` that fill a whole word, by EM number.
_RELATIVE = {EM_X86_64: 8, EM_AARCH64: 1027}
_ABSOLUTE = {EM_X86_64: 1, EM_AARCH64: 257}

_RELA = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<u8")])
_SYMBOL = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"),
                    ("size", "<u8")])  # fmt: skip
_PAGE = 0x1000
#: Zeros that one read may invent for memory without file bytes: far above any Go object, far below a memory bomb.
_MAX_ZEROS = 1 << 24


class ElfError(GotapError):
    """The file, as an ELF image, does not give what was asked for."""


class UnreadableFile(ElfError):
    """The file could not be opened or mapped."""


class NotElf(ElfError):
    """The file does not start with an ELF header."""


class TruncatedElf(ElfError):
    """The file is shorter than its own headers say."""


class MalformedElf(ElfError):
    """The headers contradict themselves, or use a form that is not supported."""


class BadAddress(ElfError):
    """The address lies in no loadable segment."""


class Segment(Struct, frozen=True):
    """A program header; sizes in bytes, `vaddr` unrelocated."""

    type: int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    memsz: int


class Section(Struct, frozen=True):
    """A section header. `vaddr` is 0 for what is not loaded; a NOBITS section has no bytes at `offset`."""

    name: str
    type: int
    flags: int
    vaddr: int
    offset: int
    size: int


class Note(Struct, frozen=True):
    """An entry of a PT_NOTE segment; `owner` without its NUL."""

    owner: bytes
    type: int
    content: bytes


class Elf:
    """One ELF image over a bytes-like buffer.

    The header is read at once, all else when first asked for. Addresses are unrelocated virtual addresses.
    `segments` is empty for 32-bit and big-endian files: only `arch`, `type` and `entry` are told of those.
    """

    def __init__(self, buffer: bytes | bytearray | memoryview | mmap.mmap, name: str = "the file") -> None:
        """`name` is what messages call it. Raises NotElf, TruncatedElf, MalformedElf."""
        self.data: bytes | mmap.mmap = buffer if isinstance(buffer, bytes | mmap.mmap) else bytes(buffer)
        self.name = name
        self.size = len(self.data)
        ident = self.data[:16]
        if ident[:4] != b"\x7fELF":
            raise NotElf(f"{name} is not an ELF file: it does not start with \\x7fELF", "name a Linux executable")
        if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            self._truncated("its identification")
        self.bits = 64 if ident[4] == 2 else 32
        self.little_endian = ident[5] == 1
        order = "<" if self.little_endian else ">"
        header = struct.Struct(order + ("HHIQQQIHHHHHH" if self.bits == 64 else "HHIIIIIHHHHHH"))
        if self.size < 16 + header.size:
            self._truncated("its header")
        (self.type, self.machine, _, self.entry, phoff, self._shoff, _, _, phentsize, phnum,
         self._shentsize, self._shnum, self._shstrndx) = header.unpack_from(self.data, 16)  # fmt: skip
        self.segments: tuple[Segment, ...] = ()
        if self.bits == 64 and self.little_endian and phnum:
            self.segments = self._program_headers(phoff, phentsize, phnum)
        self.loads = tuple(s for s in self.segments if s.type == PT_LOAD and s.memsz)

    @classmethod
    def open(cls, path: str | os.PathLike[str], name: str = "") -> Elf:
        """Maps the file, read-only. Raises UnreadableFile besides what the constructor raises. `name`: for messages."""
        name = name or os.fspath(path)
        try:
            # O_NONBLOCK: opening a FIFO must not wait for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise UnreadableFile(f"{name} is not a regular file", "name an executable file")
                if os.fstat(descriptor).st_size == 0:
                    raise NotElf(f"{name} is not an ELF file: it is empty", "name a Linux executable")
                return cls(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), name)
            finally:
                os.close(descriptor)
        except OSError as error:
            remedies = {errno.EACCES: "run as root or as the file's owner", errno.EMFILE: "raise `ulimit -n`"}
            remedy = remedies.get(error.errno or 0, "check the path")
            raise UnreadableFile(f"{name} cannot be read: {error.strerror}", remedy) from error

    def give_back(self) -> None:
        """Lets go of the file's pages that were read, which count as this process's memory; they come back when needed.

        For whoever keeps the image but is done reading it: a search of a large program touches all of it.
        """
        if isinstance(self.data, mmap.mmap):
            self.data.madvise(mmap.MADV_DONTNEED)

    # -- headers ------------------------------------------------------------------------------------------------

    def _program_headers(self, offset: int, entry_size: int, count: int) -> tuple[Segment, ...]:
        if entry_size != 56:
            self._malformed(f"program headers of {entry_size} bytes instead of 56")
        if offset + 56 * count > self.size:
            self._truncated("its program headers")
        segments = []
        for at in range(offset, offset + 56 * count, 56):
            type_, flags, start, vaddr, _, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", self.data, at)
            if type_ == PT_LOAD:
                if start + filesz > self.size:
                    self._truncated(f"the segment at {vaddr:#x}, which ends at file offset {start + filesz:#x}")
                if filesz > memsz or vaddr + memsz > 1 << 64:
                    self._malformed(f"a segment at {vaddr:#x} of impossible size")
            segments.append(Segment(type_, flags, start, vaddr, filesz, memsz))
        return tuple(segments)

    @property
    def arch(self) -> str:
        """The GOARCH of the machine ("amd64", "386", …), or "machine N" for one that Go does not know."""
        suffix = "le" if self.little_endian else ""
        if self.machine == 8:
            return f"mips{'64' if self.bits == 64 else ''}{suffix}"
        if self.machine == 21:
            return "ppc64" + suffix
        return _GOARCH.get(self.machine, f"machine {self.machine}")

    @cached_property
    def sections(self) -> dict[str, Section]:
        """Sections by name; empty when there is no section table or it does not lie in the file."""
        if self.bits != 64 or not self.little_endian or self._shentsize != 64:
            return {}
        if not 0 < self._shoff <= self.size - 64:
            return {}
        entry = struct.Struct("<IIQQQQIIQQ")
        first = entry.unpack_from(self.data, self._shoff)
        # gABI: counts that do not fit in 16 bits stand in the first entry (sh_size, sh_link).
        count = self._shnum or first[5]
        names_index = first[6] if self._shstrndx == 0xFFFF else self._shstrndx
        if count * 64 > self.size - self._shoff or names_index >= count:
            return {}
        raw = [entry.unpack_from(self.data, self._shoff + 64 * i) for i in range(count)]
        names_at, names_size = raw[names_index][4:6]
        if names_at + names_size > self.size:
            return {}
        names = self.data[names_at : names_at + names_size]
        sections: dict[str, Section] = {}
        for name_at, type_, flags, vaddr, offset, size, *_ in raw[1:]:
            name = names[name_at : names.find(b"\0", name_at)].decode("utf-8", "replace")
            sections.setdefault(name, Section(name, type_, flags, vaddr, offset, size))
        return sections

    def section_data(self, name: str) -> bytes | None:
        """The section's bytes, decompressed; None when there is none of that name or it has no bytes in the file.

        `.debug_x` also finds `.zdebug_x`, the GNU form before SHF_COMPRESSED that Go ≤ 1.18 writes.
        Raises TruncatedElf, MalformedElf.
        """
        section = self.sections.get(name)
        old_form = section is None and name.startswith(".debug_")
        if old_form:
            section = self.sections.get(".z" + name[1:])
        if section is None or section.type == SHT_NOBITS:
            return None
        if section.offset + section.size > self.size:
            self._truncated(f"section {name}")
        content = self.data[section.offset : section.offset + section.size]
        if section.flags & SHF_COMPRESSED:
            if len(content) < 24:
                self._truncated(f"the compression header of section {name}")
            algorithm, _, size = struct.unpack_from("<IIQ", content)
            if algorithm != 1:
                self._malformed(f"section {name}, compressed by algorithm {algorithm}; only zlib (1) is supported")
            return self._inflate(name, content[24:], size)
        if old_form and content[:4] == b"ZLIB" and len(content) >= 12:
            return self._inflate(name, content[12:], int.from_bytes(content[4:12], "big"))
        return content

    def _inflate(self, name: str, packed: bytes, size: int) -> bytes:
        # zlib cannot expand more than 1032 times (its FAQ), so a greater claim is no reason to allocate.
        content = b""
        if size <= 1032 * len(packed) + 64:
            with contextlib.suppress(zlib.error):
                content = zlib.decompressobj().decompress(packed, size or 1)
        if len(content) != size:
            self._malformed(f"section {name}, which does not decompress to the {size} bytes that it announces")
        return content

    # -- memory -------------------------------------------------------------------------------------------------

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

    def read(self, va: int, size: int) -> bytes:
        """Bytes as they stand in the file; zeros for BSS; raises BadAddress outside the segment that holds `va`."""
        segment = self.segment_of(va)
        if segment is None or not 0 <= size <= segment.memsz - (va - segment.vaddr):
            raise BadAddress(f"{self.name} has no {size} bytes at address {va:#x}")
        at = va - segment.vaddr
        content = self.data[segment.offset + at : segment.offset + min(at + size, max(segment.filesz, at))]
        if len(content) < size:
            if size - len(content) > _MAX_ZEROS:
                raise BadAddress(f"{self.name} has {size} bytes at address {va:#x}, but not in the file")
            content += bytes(size - len(content))
        return content

    def u32(self, va: int) -> int:
        """The 32-bit word at an address, relocations ignored."""
        return int.from_bytes(self.read(va, 4), "little")

    def u64(self, va: int) -> int:
        """The 64-bit word at an address, relocations ignored."""
        return int.from_bytes(self.read(va, 8), "little")

    def cstring(self, va: int, limit: int = 4096) -> str:
        """The NUL-terminated text at an address. Raises BadAddress when no NUL follows within `limit` bytes."""
        offset, segment = self.offset_of(va), self.segment_of(va)
        if offset is not None and segment is not None:
            end = self.data.find(b"\0", offset, min(offset + limit, segment.offset + segment.filesz))
            if end >= 0:
                return self.data[offset:end].decode("utf-8", "replace")
        raise BadAddress(f"{self.name} has no text at address {va:#x}")

    def load_base(self) -> int:
        """The page-aligned address of the lowest segment: what a process's first mapping corresponds to.

        Raises MalformedElf when nothing is loadable.
        """
        if not self.loads:
            self._malformed("no loadable segment")
        return min(s.vaddr for s in self.loads) & -_PAGE

    # -- relocations --------------------------------------------------------------------------------------------

    @cached_property
    def _relocated(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Where RELA gives a word another value than the file shows: (addresses sorted, values).

        REL and RELR need no entry here: they keep the addend in the word itself.
        """
        none = np.zeros(0, np.uint64)
        address, size = self._tag(DT_RELA), self._tag(DT_RELASZ)
        if not address or not size or self.machine not in _RELATIVE:
            return none, none
        table = np.frombuffer(self.read(address, size - size % _RELA.itemsize), _RELA)
        values = table["addend"].copy()
        absolute = (table["type"] == _ABSOLUTE[self.machine]) & (table["symbol"] != 0)
        for i in np.flatnonzero(absolute):  # c-shared and plugin only, and few there
            values[i] += np.uint64(self._symbol_value(int(table["symbol"][i])))
        keep = (table["type"] == _RELATIVE[self.machine]) | absolute
        order = np.argsort(table["offset"][keep], kind="stable")
        return table["offset"][keep][order], values[keep][order]

    def _symbol_value(self, index: int) -> int:
        table = self._tag(DT_SYMTAB)
        return self.u64(table + _SYMBOL.itemsize * index + 8) if table else 0

    def pointer(self, va: int) -> int:
        """The word at an address as it is at run time, short of the load bias. Raises BadAddress."""
        sites, values = self._relocated
        i = int(np.searchsorted(sites, np.uint64(va)))
        if i < len(sites) and int(sites[i]) == va:
            return int(values[i])
        return self.u64(va)

    def pointers(self, va: int, count: int) -> NDArray[np.uint64]:
        """`count` consecutive words, as `pointer` gives them."""
        words = np.frombuffer(self.read(va, 8 * count), "<u8").copy()
        sites, values = self._relocated
        low, high = np.searchsorted(sites, np.array([va, va + 8 * count], np.uint64))
        places = sites[low:high] - np.uint64(va)
        aligned = places % 8 == 0
        words[(places[aligned] // 8).astype(np.int64)] = values[low:high][aligned]
        return words

    def words_pointing_at(self, target: int) -> Iterator[int]:
        """Addresses of the aligned words whose `pointer` is `target`, relocated ones first."""
        sites, values = self._relocated
        yield from (int(site) for site in sites[values == np.uint64(target)])
        wanted = target.to_bytes(8, "little")
        for segment in self.loads:
            end = segment.offset + segment.filesz
            at = self.data.find(wanted, segment.offset, end)
            while at >= 0:
                va = at - segment.offset + segment.vaddr
                if va % 8 == 0:
                    yield va
                at = self.data.find(wanted, at + 1, end)

    # -- dynamic linking, notes, symbols ------------------------------------------------------------------------

    @cached_property
    def dynamic(self) -> dict[int, tuple[int, ...]]:
        """The dynamic section: tag → its values in file order; empty for a static executable."""
        tags: dict[int, tuple[int, ...]] = {}
        for segment in self._segments_of(PT_DYNAMIC):
            content = self.data[segment.offset : segment.offset + segment.filesz // 16 * 16]
            for tag, value in struct.iter_unpack("<QQ", content):
                if tag == 0:
                    break
                tags[tag] = (*tags.get(tag, ()), value)
        return tags

    def _tag(self, tag: int) -> int:
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
        flagged = bool(self._tag(DT_FLAGS_1) & DF_1_PIE)
        return self.type == ET_DYN and (flagged or self.interpreter is not None)

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
        return tuple(self.cstring(self._tag(DT_STRTAB) + at) for at in self.dynamic.get(DT_NEEDED, ()))

    def notes(self) -> Iterator[Note]:
        """The entries of all PT_NOTE segments; a broken one ends its segment."""
        for segment in self._segments_of(PT_NOTE):
            at, end = segment.offset, segment.offset + segment.filesz
            while at + 12 <= end:
                owner_size, size, type_ = struct.unpack_from("<III", self.data, at)
                content = at + 12 + (owner_size + 3) // 4 * 4
                if content + size > end:
                    break
                owner = self.data[at + 12 : at + 12 + owner_size].rstrip(b"\0")
                yield Note(owner, type_, self.data[content : content + size])
                at = content + (size + 3) // 4 * 4

    @cached_property
    def has_symtab(self) -> bool:
        return any(section.type == SHT_SYMTAB for section in self.sections.values())

    def symbols(self) -> dict[str, tuple[int, int]]:
        """The symbol table: name → (address, size), defined symbols only, the first of a name; empty if stripped."""
        return self._symbols

    @cached_property
    def _symbols(self) -> dict[str, tuple[int, int]]:
        table, names = self.section_data(".symtab"), self.section_data(".strtab")
        if table is None or names is None:
            return {}
        rows = np.frombuffer(table[: len(table) // _SYMBOL.itemsize * _SYMBOL.itemsize], _SYMBOL)
        kinds = rows["info"] & 15
        # STT_SECTION (3) and STT_FILE (4) name no code or data.
        rows = rows[(rows["section"] != 0) & (rows["name"] != 0) & (kinds != 3) & (kinds != 4)]
        symbols: dict[str, tuple[int, int]] = {}
        columns = (rows[column].tolist() for column in ("name", "value", "size"))
        for at, value, size in zip(*columns, strict=True):
            symbols.setdefault(names[at : names.find(b"\0", at)].decode("utf-8", "replace"), (value, size))
        return symbols

    # -- errors -------------------------------------------------------------------------------------------------

    def _truncated(self, what: str) -> NoReturn:
        raise TruncatedElf(
            f"{self.name} is cut off: its {self.size} bytes end before {what}", "copy or build the file again"
        )

    def _malformed(self, what: str) -> NoReturn:
        raise MalformedElf(f"{self.name} is a malformed ELF file: it has {what}", "build the file again")
