"""Machine code in memory that is not what the file holds: breakpoints of uprobes and debuggers, patches of agents.

Only pages that the process no longer shares with the file are read, so text that nobody touched costs 8 bytes a page.
"""

from __future__ import annotations

import os

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.process.mapped_files import MappedFile, mapped_files, open_mapped
from gotap.process.memory import Memory
from gotap.process.proc import Mapping, Process

#: Documentation/admin-guide/mm/pagemap.rst.
_PRESENT, _SWAPPED, _FILE = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64(1 << 61)
_INT3 = 0xCC
_MAX_PAGES = 4096  # of one file: 16 MiB of copied code is more than any tool patches


class CodeChange(Struct, frozen=True):
    """Of one file: how many bytes became int3 and how many anything else, and the first changed address, as loaded."""

    path: str
    breakpoints: int
    others: int
    first: int


def changed_code(process: Process, root: int | None, mappings: list[Mapping], memory: Memory) -> list[CodeChange]:
    """The files whose code differs in memory. Raises OSError when /proc/PID/pagemap may not be read."""
    descriptor = os.open(process.path("pagemap"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        changes = []
        for file in mapped_files(mappings):
            code = [mapping for mapping in file.code if "w" not in mapping.permissions]
            pages = {mapping: _own_pages(descriptor, mapping) for mapping in code}
            if any(len(own) for own in pages.values()):
                change = _compare(process, root, file, pages, memory)
                changes += [change] if change is not None else []
        return changes
    finally:
        os.close(descriptor)


def _own_pages(pagemap: int, mapping: Mapping) -> NDArray[np.int64]:
    """Numbers of the pages, from the mapping's start, that were copied on a write: anonymous ones, swapped or not.

    The flags are shown without any capability; only the page frame numbers are not.
    """
    page = os.sysconf("SC_PAGESIZE")
    content = os.pread(pagemap, (mapping.end - mapping.start) // page * 8, mapping.start // page * 8)
    flags = np.frombuffer(content[: len(content) & -8], np.uint64)
    return np.flatnonzero(((flags & (_PRESENT | _SWAPPED)) != 0) & ((flags & _FILE) == 0))


def _compare(
    process: Process, root: int | None, file: MappedFile, pages: dict[Mapping, NDArray[np.int64]], memory: Memory
) -> CodeChange | None:
    """None: the same, or the file cannot be opened any more."""
    try:
        descriptor = open_mapped(process, root, file)
    except OSError:
        return None
    page = os.sysconf("SC_PAGESIZE")
    breakpoints = others = 0
    first = None
    try:
        for mapping, own in pages.items():
            for number in own[:_MAX_PAGES].tolist():
                loaded = memory.read(mapping.start + number * page, page)
                original = os.pread(descriptor, page, mapping.offset + number * page)
                if loaded is None or loaded[: len(original)] == original:
                    continue
                now, then = (np.frombuffer(text[: len(original)], np.uint8) for text in (loaded, original))
                changed = np.flatnonzero(now != then)
                count = int(np.count_nonzero(now[changed] == _INT3))
                breakpoints, others = breakpoints + count, others + len(changed) - count
                first = mapping.start + number * page + int(changed[0]) if first is None else first
    finally:
        os.close(descriptor)
    return None if first is None else CodeChange(file.path, breakpoints, others, first)
