"""Many PC-value tables at once, as columns: what would take Python a second for a large program. See `pcvalue`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Bytes of tables that are decoded together: bounds the memory that the columns take to some megabytes.
_CHUNK = 1 << 17
_LONGEST_VARINT = 5
#: Bytes of one table; the longest known, of a function of a megabyte, has some thousands.
_LONGEST_TABLE = 1 << 19

_Column = NDArray[np.int64]


def distinct_values(pctab: bytes | memoryview, starts: _Column, ends: _Column) -> _Column:
    """How many different values ≥ 0 each of the tables has.

    `starts` are the tables' offsets in pctab, ascending, and `ends` where something else begins at the latest.
    Tables that reach beyond are cut there, and those that are longer than any compiler's.
    """
    raw = np.frombuffer(pctab, np.uint8)
    ends = np.minimum(ends, starts + _LONGEST_TABLE)
    counts = np.zeros(len(starts), np.int64)
    for low, high in _chunks(ends - starts):
        counts[low:high] = _count(raw, starts[low:high], ends[low:high])
    return counts


def _chunks(lengths: _Column) -> Iterator[tuple[int, int]]:
    total = np.cumsum(lengths)
    low = 0
    while low < len(lengths):
        before = int(total[low - 1]) if low else 0
        high = max(int(np.searchsorted(total, before + _CHUNK, side="right")), low + 1)
        yield low, high
        low = high


def _count(raw: NDArray[np.uint8], starts: _Column, ends: _Column) -> _Column:
    lengths = ends - starts
    first_byte = np.cumsum(lengths) - lengths
    gathered = raw[np.arange(int(lengths.sum())) + np.repeat(starts - first_byte, lengths)]
    last_bytes = np.flatnonzero(gathered < 0x80)
    numbers = _varints(gathered, last_bytes)
    # Varint i belongs to the table in which its last byte stands.
    first = np.searchsorted(last_bytes, first_byte)
    sizes = np.diff(first, append=len(numbers))
    table = np.repeat(np.arange(len(starts)), sizes)
    position = np.arange(len(numbers)) - first[table]
    even = np.flatnonzero(position % 2 == 0)  # deltas of values; the others are those of PCs
    table, deltas = table[even], numbers[even]
    # A delta of 0 that is not the first ends a table.
    over = np.cumsum((deltas == 0) & (position[even] > 0))
    deltas = np.where(deltas & 1, -((deltas + 1) >> 1), deltas >> 1)
    running = np.cumsum(deltas)
    begins = np.searchsorted(table, np.arange(len(starts)))
    before = np.concatenate([[0], running])[begins]
    over_before = np.concatenate([[0], over])[begins]
    values = running - before[table] - 1
    held = (over == over_before[table]) & (values >= 0)
    keys = np.sort(table[held] << 32 | values[held] & 0xFFFFFFFF)
    new = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
    return np.bincount(new >> 32, minlength=len(starts))


def _varints(raw: NDArray[np.uint8], last_bytes: _Column) -> _Column:
    """The numbers whose last bytes stand there."""
    previous = np.concatenate([[-1], last_bytes[:-1]]) if len(last_bytes) else last_bytes
    sizes = np.minimum(last_bytes - previous, _LONGEST_VARINT)
    numbers = raw[last_bytes].astype(np.int64)
    for size in range(2, int(sizes.max(initial=1)) + 1):
        longer = np.flatnonzero(sizes >= size)
        numbers[longer] = numbers[longer] << 7 | raw[last_bytes[longer] - (size - 1)] & 0x7F
    return numbers
