"""Any executable file: what ELF, PE and Mach-O have in common, and which of them a file is."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from typing import Protocol

from gotap.image.containers.elf import Elf
from gotap.image.containers.mapping import map_file
from gotap.image.containers.memory import Note, Section, Segment, Words


class Container(Protocol):
    """An executable file. Addresses are unrelocated virtual addresses; what is described nowhere here is in `Memory`.

    `format` is "elf", "pe" or "macho". `entry` is 0 where there is none. Reading by address raises BadAddress.
    """

    name: str
    data: bytes | mmap.mmap
    size: int
    bits: int
    big_endian: bool
    entry: int
    segments: tuple[Segment, ...]
    loads: tuple[Segment, ...]

    @property
    def format(self) -> str: ...
    @property
    def os(self) -> str:
        """The GOOS, "uefi", "tvos" or "watchos"."""
        ...

    @property
    def arch(self) -> str:
        """The GOARCH, or "machine N"."""
        ...

    @property
    def word_size(self) -> int: ...
    @property
    def order(self) -> str: ...
    @property
    def sections(self) -> dict[str, Section]:
        """By name ("segment,section" for Mach-O); empty where there is no table of them."""
        ...

    @property
    def needed(self) -> tuple[str, ...]:
        """The libraries it asks the loader for."""
        ...

    @property
    def interpreter(self) -> str | None:
        """The dynamic loader's path; None where the file names none."""
        ...

    @property
    def is_pie(self) -> bool: ...
    @property
    def is_library(self) -> bool: ...
    @property
    def has_symtab(self) -> bool: ...
    @property
    def has_dwarf(self) -> bool: ...
    def symbols(self) -> dict[str, tuple[int, int]]: ...
    def notes(self) -> Iterator[Note]: ...
    def give_back(self) -> None: ...
    def check_unchanged(self) -> None: ...
    def segment_of(self, va: int) -> Segment | None: ...
    def offset_of(self, va: int) -> int | None: ...
    def address_of(self, offset: int) -> int | None: ...
    def read(self, va: int, size: int) -> bytes: ...
    def u32(self, va: int) -> int: ...
    def u64(self, va: int) -> int: ...
    def word(self, va: int) -> int: ...
    def cstring(self, va: int, limit: int = 4096) -> str: ...
    def search(self, pattern: bytes, segments: Iterable[Segment] | None = None) -> Iterator[int]: ...
    def pieces(self, segments: Iterable[Segment], overlap: int) -> Iterator[tuple[int, bytes]]: ...
    def code_last(self) -> list[Segment]: ...
    def pointer(self, va: int) -> int: ...
    def pointers(self, va: int, count: int) -> Words: ...
    def words_pointing_at(self, target: int) -> Iterator[int]: ...


def open_container(path: str | os.PathLike[str], name: str = "") -> Container:
    """Maps an executable; `name` is for messages. Raises UnreadableFile, and what `read_container` raises."""
    return read_container(map_file(path, name), name or os.fspath(path))


def read_container(buffer: bytes | mmap.mmap, name: str = "the file") -> Container:
    """The container that the bytes are. Raises NotExecutable, which names other files, TruncatedFile, MalformedFile."""
    magic = buffer[:4]
    if magic == b"\x7fELF":
        return Elf(buffer, name)
    # The other formats are loaded when they are met: programs that can be observed are ELF.
    if magic[:2] == b"MZ":
        from gotap.image.containers.pe import Pe

        return Pe(buffer, name)
    from gotap.image.containers import macho

    if magic in macho.MAGICS:
        return macho.MachO(buffer, name)
    if macho.is_fat(buffer[:8]):
        return macho.from_fat(buffer, name)
    from gotap.image.containers.filetype import HEAD, not_executable

    raise not_executable(buffer[:HEAD], name)
