"""Which code came from a source file's line: own code of functions and what was inlined from there, stripped or not.

Every compilation unit has a list of the files that its code came from, those of inlined functions included (cutab, see
cmd/link/internal/ld/pcln.go; Go 1.16–1.27), so only functions of units that list the file are looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from gotap.image.functions.pclntab import Function, Pclntab
from gotap.image.functions.pcvalue import MalformedPclntab

_PCDATA_INLTREE_INDEX = 2
#: Ranges of all code of one source file; those of the largest programs known are a tenth of it.
_MOST_RANGES = 1 << 22


class LineRange(Struct, frozen=True):
    """Code [start, end) that came from `line`; `inlined`: index of the innermost inlined call, −1 for own code."""

    start: int
    end: int
    line: int
    inlined: int


class FileCode(Struct, frozen=True):
    """Code of one function that came from one source file. `ranges` are ascending."""

    file: str
    function: Function
    ranges: tuple[LineRange, ...]


def matching_files(table: Pclntab, path: str) -> dict[int, str]:
    """Source files whose path ends so, whole components: offset in the file table → name."""
    names = b"\0" + table.file_table
    pattern = rb"\0((?:[^\0]*/)?" + re.escape(path.encode()) + rb")(?=\0)"
    return {match.start(): match[1].decode("utf-8", "replace") for match in re.finditer(pattern, names)}


def code_of_files(table: Pclntab, files: dict[int, str]) -> Iterator[FileCode]:
    """All code that came from these files (see `matching_files`), by function. Raises MalformedPclntab."""
    units = table.units
    starts = sorted(set(units.tolist()))
    numbers: dict[int, dict[int, str]] = {}  # unit → number of a file in it → its name
    for place in np.flatnonzero(np.isin(table.unit_files, np.array(list(files), np.uint32))).tolist():
        at = bisect_right(starts, place) - 1
        if at >= 0:
            numbers.setdefault(starts[at], {})[place - starts[at]] = files[int(table.unit_files[place])]
    left = _MOST_RANGES
    for unit, names in numbers.items():
        for index in np.flatnonzero(units == unit).tolist():
            for part in _code_of(table, table.function(index), names):
                left -= len(part.ranges)
                if left < 0:
                    raise MalformedPclntab("its lines overlap")
                yield part


def _code_of(table: Pclntab, function: Function, names: dict[int, str]) -> Iterator[FileCode]:
    rows, lines = table.source_rows(function)
    wanted: dict[str, list[tuple[int, int]]] = {}
    for start, end, number in rows:
        if number in names:
            wanted.setdefault(names[number], []).append((start, end))
    if not wanted:
        return
    trees = table.pcdata(function, _PCDATA_INLTREE_INDEX)
    for file, parts in wanted.items():
        pieces = _crossed([(start, end, (line,)) for start, end, line in lines], parts)
        ranges = tuple(
            LineRange(function.address + start, function.address + end, line, inlined)
            for start, end, (line, inlined) in _with_index(pieces, trees)
            if line > 0
        )
        yield FileCode(file, function, ranges)


def _crossed(
    rows: list[tuple[int, int, tuple[int]]], parts: list[tuple[int, int]]
) -> list[tuple[int, int, tuple[int]]]:
    """The rows cut down to the parts; both ascending and without overlap."""
    found = []
    at = 0
    for low, high in parts:
        while at < len(rows) and rows[at][1] <= low:
            at += 1
        i = at
        while i < len(rows) and rows[i][0] < high:
            start, end, value = rows[i]
            found.append((max(start, low), min(end, high), value))
            i += 1
    return found


def _with_index(
    pieces: list[tuple[int, int, tuple[int]]], trees: list[tuple[int, int, int]]
) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """The pieces, cut where the inlined call changes, each with its index; −1 where the table says nothing."""
    at = 0
    for start, end, (line,) in pieces:
        while at < len(trees) and trees[at][1] <= start:
            at += 1
        i = at
        while start < end:
            low, high, index = trees[i] if i < len(trees) else (end, end, -1)
            if low > start:
                high, index = min(low, end), -1
            else:
                i += 1
            stop = min(high, end)
            yield start, stop, (line, index)
            start = stop
