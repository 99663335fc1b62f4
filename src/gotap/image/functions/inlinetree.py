"""Which calls the compiler inlined where, read from the function table's inline trees, stripped binaries included.

A function with inlined calls has FUNCDATA_InlTree (3), an array of entries, and PCDATA_InlTreeIndex (2), which says
for each PC the innermost entry (−1: the function itself). An entry's parent is the entry at its parentPc.
Sources: type inlinedCall in runtime/symtabinl.go (Go ≥ 1.21) and runtime/symtab.go (before); Go 1.18–1.27.
An inlined call whose code was optimised away leaves no entry.

Entry, Go 1.18–1.19: {i16 parent, u8 funcID, u8, i32 file, i32 line, i32 name, i32 parentPc};
Go 1.20–1.27: {u8 funcID, 3 × u8, i32 name, i32 parentPc, i32 startLine}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.image.errors import BadAddress
from gotap.image.functions.pccolumns import distinct_values
from gotap.image.functions.pcvalue import MalformedPclntab, Row, value_at

if TYPE_CHECKING:
    from gotap.image.functions.pclntab import Function, Pclntab

_PCDATA_INLTREE_INDEX = 2
_FUNCDATA_INLTREE = 3
_NO_FUNCDATA = 0xFFFFFFFF
#: The word of a record that has the number of its PCDATA tables.
_NPCDATA = 7
#: Entries that one function's tree may have; real trees stay below 10⁴.
_MAX_ENTRIES = 1 << 16
#: Characters of all names in one tree.
_MOST_NAMES = 1 << 22
#: How deep calls may be inlined into each other; the compiler stays below 100.
_MAX_DEPTH = 1 << 8
#: Bytes allowed for the last tree, whose length nothing tells before it is decoded.
_LAST_TREE = 1 << 16
#: Bytes of all trees; those of the largest programs known are a quarter of it.
_MOST_TREES = 1 << 26


class Forest(Struct, frozen=True):
    """All trees of a table. `offsets`: from gofunc, sorted; `owners`: their functions' indices; `of`: by function, the
    offset of its tree, −1 for none. `words` are the memory from the first tree on, which lies at `start` from gofunc.
    """

    offsets: NDArray[np.int64]
    owners: NDArray[np.int64]
    of: NDArray[np.int64]
    words: NDArray[np.uint32]
    start: int


class InlinedCall(Struct, frozen=True):
    """One inlined call. Addresses are unrelocated.

    `ranges`: [start, end) of the code that came from it, deeper inlined calls included, ascending and disjoint.
    `parent` is the index of the inlined call that it is nested in, None directly in `function`.
    `call_site` is the address of an instruction that carries the source position of the call.
    """

    name: str
    index: int
    function: Function
    ranges: tuple[tuple[int, int], ...]
    parent: int | None
    call_site: int

    @property
    def caller(self) -> str:
        """The name of the function whose code holds it."""
        return self.function.name


class InlineTree:
    """The inline trees of one function table: a view for as long as a question takes.

    The table keeps what was found (`find_trees`), not this, which would hold it and its file by a reference cycle.
    """

    def __init__(self, table: Pclntab, forest: Forest) -> None:
        self._table = table
        self._forest = forest
        self._entry_size, self._name_at, self._parent_at = (16, 4, 8) if table.has_start_line else (20, 12, 16)

    def calls(self, function: Function) -> list[InlinedCall]:
        """All inlined calls of a function, by index."""
        tree = self._tree_offset(function)
        rows = self._table.pcdata(function, _PCDATA_INLTREE_INDEX) if tree is not None else []
        count = max((value for _, _, value in rows), default=-1) + 1
        if tree is None or not 0 < count < _MAX_ENTRIES:
            return []
        words = np.frombuffer(
            self._table.elf.read(self._table.gofunc + tree, count * self._entry_size), self._table.elf.order + "i4"
        ).reshape(count, -1)
        names, parent_pcs = words[:, self._name_at // 4].tolist(), words[:, self._parent_at // 4].tolist()
        parents = [value_at(rows, pc) for pc in parent_pcs]
        ranges = _ranges(rows, parents)
        texts = {offset: self._table.name_at(offset) for offset in {names[i] for i in range(count) if ranges[i]}}
        if sum(map(len, texts.values())) > _MOST_NAMES:
            raise MalformedPclntab(f"the names of what was inlined into {function.name} overlap")
        return [
            InlinedCall(
                texts[names[i]],
                i,
                function,
                tuple((function.address + start, function.address + end) for start, end in ranges[i]),
                parents[i] if 0 <= parents[i] < count else None,
                function.address + parent_pcs[i],
            )
            for i in range(count)
            if ranges[i]
        ]

    def places(self, offsets: Sequence[int] | NDArray[np.int64]) -> list[InlinedCall]:
        """Where functions were inlined, given the offsets of their names in the name table.

        The trees are searched as one column of words, only hits are decoded.
        """
        if not len(offsets) or not len(self._forest.offsets):
            return []
        names = {self._table.name_at(int(offset)) for offset in offsets}
        functions = self._holders(np.asarray(offsets, np.uint32))
        return [call for index in functions for call in self.calls(self._table.function(index)) if call.name in names]

    def _holders(self, names: NDArray[np.uint32]) -> list[int]:
        """Indices of the functions whose trees may mention one of these offsets of the name table."""
        forest = self._forest
        hits = np.flatnonzero(np.isin(forest.words, names)) * 4 + forest.start - self._name_at
        owner = np.searchsorted(forest.offsets, hits, side="right") - 1
        inside = (owner >= 0) & ((hits - forest.offsets[owner]) % self._entry_size == 0)
        found = np.zeros(len(self._table), np.bool_)
        found[forest.owners[owner[inside]]] = True
        functions: list[int] = np.flatnonzero(found).tolist()
        return functions

    def count(self) -> int | None:
        """How many `calls` all functions have together; None where the tables' format has no such trees."""
        table = self._table
        if not _has_trees(table):
            return None
        records = table.records[self._forest.owners] // 4
        places = records + table.record_size // 4 + _PCDATA_INLTREE_INDEX
        has = (table.words[records + _NPCDATA] > _PCDATA_INLTREE_INDEX) & (places < len(table.words))
        offsets = np.sort(table.words[places[has]].astype(np.int64))
        offsets = offsets[(offsets != 0) & (offsets < len(table.pctab))]
        if not len(offsets):
            return 0
        first = np.flatnonzero(np.concatenate([[True], offsets[1:] != offsets[:-1]]))
        uses = np.diff(first, append=len(offsets))  # functions that are alike share a table
        tables, known = offsets[first], table.pc_tables()
        ends = known[np.searchsorted(known, tables.astype(np.uint32), side="right")].astype(np.int64)
        return int((distinct_values(table.pctab, tables, ends) * uses).sum())

    def _tree_offset(self, function: Function) -> int | None:
        tree = int(self._forest.of[function.index])
        return tree if tree >= 0 else None


def find_trees(table: Pclntab) -> Forest:
    """Raises BadAddress when they lie outside the file."""
    none = np.zeros(0, np.int64)
    of = np.full(len(table), -1, np.int64)
    if not _has_trees(table):
        return Forest(none, none, of, np.zeros(0, np.uint32), 0)
    records = table.records // 4
    last = table.words[records + table.record_size // 4 - 1]  # funcID, flag, padding, nfuncdata: bytes
    nfuncdata = (last & 0xFF if table.elf.big_endian else last >> 24).astype(np.int64)
    places = records + table.record_size // 4 + table.words[records + _NPCDATA].astype(np.int64) + _FUNCDATA_INLTREE
    owners = np.flatnonzero((nfuncdata > _FUNCDATA_INLTREE) & (places < len(table.words)))
    trees = table.words[places[owners]].astype(np.int64)
    owners, trees = owners[trees != _NO_FUNCDATA], trees[trees != _NO_FUNCDATA]
    of[owners] = trees
    order = np.argsort(trees, kind="stable")
    owners, trees = owners[order], trees[order]
    if not len(trees):
        return Forest(none, none, of, np.zeros(0, np.uint32), 0)
    start = int(trees[0])
    segment, offset = table.elf.segment_of(table.gofunc + start), table.elf.offset_of(table.gofunc + start)
    if segment is None or offset is None:
        raise BadAddress(f"{table.elf.name} has no inline trees at {table.gofunc + start:#x}")
    size = min(segment.offset + segment.filesz - offset, int(trees[-1]) - start + _LAST_TREE, _MOST_TREES)
    words = np.frombuffer(table.elf.data, table.elf.order + "u4", size // 4, offset)
    return Forest(trees, owners, of, words, start)


def _has_trees(table: Pclntab) -> bool:
    """Trees of older formats have pointers and another entry."""
    return table.header.format in ("1.18", "1.20")


def _ranges(rows: list[Row], parents: list[int]) -> list[list[tuple[int, int]]]:
    """Of every entry the code of itself and of its descendants, neighbours joined."""
    ranges: list[list[tuple[int, int]]] = [[] for _ in parents]
    for start, end, value in rows:
        seen: set[int] = set()
        while 0 <= value < len(parents) and value not in seen and end > start and len(seen) < _MAX_DEPTH:
            seen.add(value)
            own = ranges[value]
            if own and own[-1][1] == start:
                own[-1] = (own[-1][0], end)
            else:
                own.append((start, end))
            value = parents[value]
    return ranges
