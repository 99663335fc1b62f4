"""PE executables (Windows): PE32 and PE32+, sections as segments, addresses at the preferred base.

Source: the PE/COFF specification of Microsoft, revision 11; what Go writes: cmd/link/internal/ld/pe.go, Go 1.27.
"""

from __future__ import annotations

import mmap
import struct
from functools import cached_property
from typing import NoReturn

from gotap.image.containers.memory import PF_R, PF_W, PF_X, PT_LOAD, Memory, Section, Segment
from gotap.image.errors import BadAddress, MalformedFile, NotExecutable, TruncatedFile

_GOARCH = {0x14C: "386", 0x8664: "amd64", 0xAA64: "arm64", 0x1C0: "arm", 0x1C2: "arm", 0x1C4: "arm",
           0x5064: "riscv64", 0x6264: "loong64"}  # fmt: skip
_MAGIC_PE32, _MAGIC_PE32_PLUS = 0x10B, 0x20B
_FILE_DLL, _DYNAMIC_BASE = 0x2000, 0x40
_SCN_EXECUTE, _SCN_READ, _SCN_WRITE, _SCN_UNINITIALISED = 0x20000000, 0x40000000, 0x80000000, 0x80
_DIRECTORY_IMPORT, _DIRECTORY_CLR = 1, 14
#: IMAGE_SUBSYSTEM_EFI_APPLICATION … IMAGE_SUBSYSTEM_EFI_ROM
_EFI = range(10, 14)
_SYMBOL_SIZE = 18
#: The loader of Windows takes 96 sections; objects have more.
_MAX_SECTIONS = 256
_MAX_IMPORTS = 1 << 10
_MAX_SYMBOLS = 1 << 20


class Pe(Memory):
    """One PE image over a bytes-like buffer. Addresses are those at the preferred base, as the file's words are."""

    format = "pe"
    big_endian = False
    interpreter: str | None = None

    def __init__(self, buffer: bytes | mmap.mmap, name: str = "the file") -> None:
        """`name` is what messages call it. Raises NotExecutable, TruncatedFile, MalformedFile."""
        self.data, self.name, self.size = buffer, name, len(buffer)
        at = struct.unpack_from("<I", self.data, 0x3C)[0] if self.size >= 0x40 else self.size
        if self.data[:2] != b"MZ" or self.data[at : at + 4] != b"PE\0\0":
            raise NotExecutable(f"{name} is a DOS program, not a PE file", "name an ELF, PE or Mach-O file", "dos")
        if at + 24 > self.size:
            self._truncated("its COFF header")
        (self.machine, count, _, self._symbols_at, self._symbol_count, optional, self.characteristics
         ) = struct.unpack_from("<HHIIIHH", self.data, at + 4)  # fmt: skip
        self._optional_header(at + 24, optional)
        self.segments = self._section_headers(at + 24 + optional, count)
        self.loads = tuple(s for s in self.segments if s.memsz)

    # -- headers ------------------------------------------------------------------------------------------------

    def _optional_header(self, at: int, size: int) -> None:
        if at + size > self.size or size < 96:
            self._truncated("its optional header")
        magic = struct.unpack_from("<H", self.data, at)[0]
        if magic not in (_MAGIC_PE32, _MAGIC_PE32_PLUS):
            self._malformed(f"an optional header of the unknown kind {magic:#x}")
        self.bits = 64 if magic == _MAGIC_PE32_PLUS else 32
        start = struct.unpack_from("<I", self.data, at + 16)[0]
        self.image_base: int = struct.unpack_from("<Q" if self.bits == 64 else "<I", self.data,
                                                  at + (24 if self.bits == 64 else 28))[0]  # fmt: skip
        self.entry: int = self.image_base + start if start else 0
        self._subsystem, self._dll_characteristics = struct.unpack_from("<HH", self.data, at + 68)
        first = at + (112 if self.bits == 64 else 96)
        count = struct.unpack_from("<I", self.data, first - 4)[0] if first <= at + size else 0
        present = min(count, max(at + size - first, 0) // 8, 16)
        #: Data directories: (address relative to the base, size)
        rows = (struct.unpack_from("<II", self.data, first + 8 * i) for i in range(present))
        self._directories: list[tuple[int, int]] = [(address, extent) for address, extent in rows]

    def _section_headers(self, at: int, count: int) -> tuple[Segment, ...]:
        if count > _MAX_SECTIONS:
            self._malformed(f"{count} sections")
        if at + 40 * count > self.size:
            self._truncated("its section headers")
        segments: list[Segment] = []
        sections: dict[str, Section] = {}
        for i in range(count):
            raw, memory, address, stored, start, *_, flags = struct.unpack_from("<8sIIIIIIHHI", self.data, at + 40 * i)
            stored = 0 if flags & _SCN_UNINITIALISED or not start else stored
            if start + stored > self.size and stored:
                self._truncated(f"the section at {self.image_base + address:#x}")
            memory = memory or stored
            vaddr = self.image_base + address
            if vaddr + memory > 1 << self.bits:
                self._malformed(f"a section at {vaddr:#x} of impossible size")
            name = self._section_name(raw)
            sections.setdefault(name, Section(name, 0, flags, vaddr, start, stored))
            rights = sum(ours for theirs, ours in ((_SCN_EXECUTE, PF_X), (_SCN_READ, PF_R), (_SCN_WRITE, PF_W))
                         if flags & theirs)  # fmt: skip
            segments.append(Segment(PT_LOAD, rights, start, vaddr, min(stored, memory), memory, name))
        #: Sections by name, the first of a name; `size` is that in the file.
        self.sections = sections
        return tuple(segments)

    def _section_name(self, raw: bytes) -> str:
        """Names of more than 8 bytes stand in the string table behind the symbols, at `/offset`."""
        text = _text(raw)
        if text[:1] == "/" and text[1:].isdecimal() and self._symbols_at:
            return self._string(int(text[1:])) or text
        return text

    def _string(self, offset: int) -> str:
        at = self._symbols_at + self._symbol_count * _SYMBOL_SIZE + offset
        end = self.data.find(b"\0", at, at + 4096) if at < self.size else -1
        return self.data[at:end].decode("utf-8", "replace") if end >= 0 else ""

    @property
    def arch(self) -> str:
        """The GOARCH of the machine, or "machine N" for one that Go does not know."""
        return _GOARCH.get(self.machine, f"machine {self.machine}")

    @property
    def os(self) -> str:
        """The GOOS; "uefi" for what runs before one."""
        return "uefi" if self._subsystem in _EFI else "windows"

    @property
    def is_pie(self) -> bool:
        """Whether it may be loaded elsewhere than at its preferred base; a DLL is no executable."""
        return bool(self._dll_characteristics & _DYNAMIC_BASE) and not self.is_library

    @property
    def is_library(self) -> bool:
        return bool(self.characteristics & _FILE_DLL)

    @property
    def is_managed(self) -> bool:
        """It has a CLR header: a .NET assembly."""
        return any(address != 0 for address, _ in self._directories[_DIRECTORY_CLR:][:1])

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The DLLs of the import directory; those that Go's runtime loads by name itself do not stand there."""
        if len(self._directories) <= _DIRECTORY_IMPORT or not self._directories[_DIRECTORY_IMPORT][0]:
            return ()
        names, at = [], self.image_base + self._directories[_DIRECTORY_IMPORT][0]
        try:
            for i in range(_MAX_IMPORTS):
                name = self.u32(at + 20 * i + 12)
                if not name:
                    break
                names.append(self.cstring(self.image_base + name))
        except BadAddress:
            pass  # what was read of a damaged directory still holds
        return tuple(dict.fromkeys(names))

    # -- symbols ------------------------------------------------------------------------------------------------

    @property
    def has_symtab(self) -> bool:
        return bool(self._symbol_count)

    @property
    def has_dwarf(self) -> bool:
        return ".debug_info" in self.sections or ".zdebug_info" in self.sections

    def symbols(self) -> dict[str, tuple[int, int]]:
        """The COFF symbol table: name → (address, 0), defined symbols only; it knows no sizes. Empty if stripped."""
        return self._symbols

    @cached_property
    def _symbols(self) -> dict[str, tuple[int, int]]:
        end = self._symbols_at + self._symbol_count * _SYMBOL_SIZE
        if not self._symbol_count or end > self.size or self._symbol_count > _MAX_SYMBOLS:
            return {}
        symbols: dict[str, tuple[int, int]] = {}
        rows = struct.iter_unpack("<8sIhHBB", self.data[self._symbols_at : end])
        # Names may overlap, which a hostile table could use to unfold a megabyte to gigabytes.
        skip, left = 0, 8 * (self.size - end) + (1 << 16)
        for raw, value, section, _, _, auxiliary in rows:
            if skip:
                skip -= 1
                continue
            skip = auxiliary
            if not 0 < section <= len(self.segments):
                continue
            long = raw[:4] == b"\0\0\0\0"
            name = self._string(int.from_bytes(raw[4:], "little")) if long else _text(raw)
            left -= len(name)
            if left < 0:
                break
            symbols.setdefault(name, (self.segments[section - 1].vaddr + value, 0))
        return symbols

    # -- errors -------------------------------------------------------------------------------------------------

    def _truncated(self, what: str) -> NoReturn:
        raise TruncatedFile(
            f"{self.name} is cut off: its {self.size} bytes end before {what}", "copy or build the file again"
        )

    def _malformed(self, what: str) -> NoReturn:
        raise MalformedFile(f"{self.name} is a malformed PE file: it has {what}", "build the file again")


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", "replace")
