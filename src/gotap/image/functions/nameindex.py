"""From names to functions: the name table searched as one piece of bytes, and which functions have a name there."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gotap.image.functions.pcvalue import MalformedPclntab

#: Ends of names in their table.
_MOST_ENDS = 1 << 22
#: How much longer all names may be than their table, as functions share them: instances of generic functions do.
_MOST_NAMES = 16


class NameIndex:
    """`table`: names with a NUL behind each. `offsets` (n,): where the name of each function stands there.

    `scattered`: names stand between other things, as they do before Go 1.16.
    """

    def __init__(self, table: bytes, offsets: NDArray[np.int64], scattered: bool) -> None:
        self._table = table
        self._offsets = offsets
        self._scattered = scattered
        self._found: dict[tuple[str, bool], list[int]] = {}

    def offsets_of(self, name: str, prefix: bool = False) -> list[int]:
        """Where a name stands, or every name that starts so; see `Pclntab.name_offsets_of`."""
        key = name, prefix
        if key not in self._found:  # the functions of a name and where it was inlined are asked for in turn
            self._found[key] = self._search(name, prefix)
        return self._found[key]

    def indices_of(self, name: str, prefix: bool = False) -> list[int]:
        """The functions of a name, or of all that start so, by address."""
        indices: list[int] = self.indices_at(np.array(self.offsets_of(name, prefix), np.int64)).tolist()
        return indices

    def indices_at(self, name_offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """The functions whose names stand at these offsets, by address."""
        offsets, order = self._by_offset
        low, high = (np.searchsorted(offsets, name_offsets, side=side) for side in ("left", "right"))
        counts = high - low
        steps = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        indices: NDArray[np.int64] = np.sort(order[np.repeat(low, counts) + steps])
        return indices

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all functions, in their order. Raises MalformedPclntab."""
        table, find = self._table, self._table.find
        self._check()
        return tuple(table[at : find(b"\0", at)].decode("utf-8", "replace") for at in self._offsets.tolist())

    def _search(self, name: str, prefix: bool) -> list[int]:
        table, wanted = self._table, name.encode() + (b"" if prefix else b"\0")
        if self._scattered:
            places = (match.start() for match in re.finditer(re.escape(wanted), table))
            return sorted(set(places) & set(self._offsets.tolist()))
        offsets = [0] if table.startswith(wanted) else []
        at = table.find(b"\0" + wanted)
        while at >= 0:
            offsets.append(at + 1)
            at = table.find(b"\0" + wanted, at + 1)
        if not offsets and "[...]" in name:
            before, after = (re.escape(part) for part in name.encode().split(b"[...]", 1))
            pattern = rb"\0" + before + rb"\[[^\0]*\]" + after + (b"" if prefix else rb"(?=\0)")
            offsets = [match.start() + 1 for match in re.finditer(pattern, table)]
        return offsets

    @cached_property
    def _by_offset(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self._offsets, kind="stable")
        return self._offsets[order], order

    def _check(self) -> None:
        """Names lie side by side, so that all are no longer than their table; overlapping ones could be terabytes."""
        offsets = self._by_offset[0]
        is_end = np.frombuffer(self._table, np.uint8) == 0
        if np.count_nonzero(is_end) > _MOST_ENDS:
            raise MalformedPclntab("its names are empty")
        ends = np.flatnonzero(is_end)
        places = np.searchsorted(ends, offsets)
        if not len(ends) or int(places.max()) == len(ends):
            raise MalformedPclntab("a name has no end")
        # Of several functions with one name, the name counts once.
        first = np.concatenate([[True], offsets[1:] != offsets[:-1]])
        lengths = ends[places] - offsets
        if int(lengths[first].sum()) > len(self._table) or int(lengths.sum()) > _MOST_NAMES * len(self._table):
            raise MalformedPclntab("its names overlap")
