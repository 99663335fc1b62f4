"""Chained fixups: how pointers stand in Mach-O files that newer linkers made.

A page's pointers form a chain: each holds its target and the distance to the next. A word outside the chain is a
plain number, so chains are walked, page by page as words are asked for.
Source: mach-o/fixup-chains.h of dyld (LC_DYLD_CHAINED_FIXUPS, macOS ≥ 12).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from gotap.image.containers.memory import Segment

_ARM64E, _PTR_64, _PTR_32, _PTR_64_OFFSET, _ARM64E_USERLAND, _ARM64E_USERLAND24 = 1, 2, 3, 6, 9, 12
_NO_FIXUPS, _MULTIPLE_STARTS = 0xFFFF, 0x8000
_MAX_PAGES = 1 << 16
#: Bytes that are looked through at once.
_STEP = 1 << 20


class _Chains(Struct, frozen=True):
    """A segment's chains: `starts` has for each page the offset of its first pointer, or _NO_FIXUPS."""

    segment: Segment
    page_size: int
    format: int
    starts: tuple[int, ...]


class Fixups:
    """The pointers of a file's chains. `base` is the address of the Mach-O header, which offsets count from."""

    def __init__(self, data: bytes | mmap.mmap, order: str, base: int, table: bytes, segments: list[Segment]) -> None:
        """`table`: what LC_DYLD_CHAINED_FIXUPS points at; `segments`: all, in the order of the load commands."""
        self._data, self._order, self._base = data, order, base
        self._chains = list(_read(table, order, segments))
        self._pages: dict[tuple[int, int], dict[int, int]] = {}

    def value(self, va: int) -> int | None:
        """The pointer at that address; None when there is none: a number, or an import's place."""
        for number, chains in enumerate(self._chains):
            at = va - chains.segment.vaddr
            if 0 <= at < chains.segment.filesz:
                return self._page(number, at // chains.page_size).get(va)
        return None

    def between(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(Address, value) of the pointers in [start, end)."""
        for number, chains in enumerate(self._chains):
            low = max(start - chains.segment.vaddr, 0)
            high = min(end - chains.segment.vaddr, chains.segment.filesz)
            for page in range(low // chains.page_size, -(-high // chains.page_size) if high > low else 0):
                yield from ((va, value) for va, value in self._page(number, page).items() if start <= va < end)

    def pointing_at(self, target: int) -> Iterator[int]:
        """Addresses of the pointers to `target`: of the words whose low bits fit, those that are in a chain."""
        for chains in self._chains:
            if chains.format == _PTR_32:
                continue
            segment = chains.segment
            # Chains reach no further than the pages that the table has starts for.
            size = min(segment.filesz, chains.page_size * len(chains.starts))
            for start in range(0, size, _STEP):
                words = np.frombuffer(
                    self._data, f"{self._order}u8", min(_STEP, size - start) // 8, segment.offset + start
                )
                low = words & np.uint64((1 << 32) - 1)
                for wanted in {target & 0xFFFFFFFF, (target - self._base) & 0xFFFFFFFF}:
                    for index in np.flatnonzero(low == np.uint64(wanted)).tolist():
                        if self.value(segment.vaddr + start + 8 * index) == target:
                            yield segment.vaddr + start + 8 * index

    def _page(self, number: int, page: int) -> dict[int, int]:
        """Address → value of one page's pointers."""
        known = self._pages.get((number, page))
        if known is None:
            known = self._pages[(number, page)] = dict(self._walk(self._chains[number], page))
        return known

    def _walk(self, chains: _Chains, page: int) -> Iterator[tuple[int, int]]:
        start = chains.starts[page] if page < len(chains.starts) else _NO_FIXUPS
        if start == _NO_FIXUPS or start & _MULTIPLE_STARTS:
            return
        size = 4 if chains.format == _PTR_32 else 8
        at, end = page * chains.page_size + start, min((page + 1) * chains.page_size, chains.segment.filesz)
        word = struct.Struct(self._order + ("I" if size == 4 else "Q"))
        while at + size <= end:
            raw = word.unpack_from(self._data, chains.segment.offset + at)[0]
            value, step = self._decoded(raw, chains.format)
            if value is not None:
                yield chains.segment.vaddr + at, value
            if not step:
                return
            at += step

    def _decoded(self, raw: int, format: int) -> tuple[int | None, int]:
        """(Target, None for an import; bytes to the next pointer, 0 at the end)."""
        if format == _PTR_32:
            return (None if raw >> 31 else raw & 0x3FFFFFF), (raw >> 26 & 0x1F) * 4
        if format in (_PTR_64, _PTR_64_OFFSET):
            target = (raw & (1 << 36) - 1) + (self._base if format == _PTR_64_OFFSET else 0)
            return (None if raw >> 63 else target | (raw >> 36 & 0xFF) << 56), (raw >> 51 & 0xFFF) * 4
        step = (raw >> 51 & 0x7FF) * 8
        if raw >> 62 & 1:
            return None, step
        if raw >> 63:  # authenticated: always an offset
            return self._base + (raw & 0xFFFFFFFF), step
        target = raw & (1 << 43) - 1
        return (target if format == _ARM64E else self._base + target) | (raw >> 43 & 0xFF) << 56, step


def _read(table: bytes, order: str, segments: list[Segment]) -> Iterator[_Chains]:
    """dyld_chained_fixups_header, dyld_chained_starts_in_image, dyld_chained_starts_in_segment; damage ends it."""
    try:
        _, image = struct.unpack_from(order + "II", table)
        (count,) = struct.unpack_from(order + "I", table, image)
        for index in range(min(count, len(segments))):
            (offset,) = struct.unpack_from(order + "I", table, image + 4 + 4 * index)
            if not offset:
                continue
            at = image + offset
            _, page_size, format, _, _, pages = struct.unpack_from(order + "IHHQIH", table, at)
            if page_size not in (0x1000, 0x4000) or pages > _MAX_PAGES:
                continue
            if format in (_ARM64E, _PTR_64, _PTR_32, _PTR_64_OFFSET, _ARM64E_USERLAND, _ARM64E_USERLAND24):
                starts = struct.unpack_from(f"{order}{pages}H", table, at + 22)
                yield _Chains(segments[index], page_size, format, starts)
    except struct.error:
        return
