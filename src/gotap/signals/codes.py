"""Numbering: columns of values as small dense integers, so that work is done once a distinct value, not once a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gotap.signals.batch import Bools, Coded, Column, Ints, Same, Texts

Codes = NDArray[np.intp]

_NONE: Codes = np.zeros(0, np.intp)

#: Ranges up to this are numbered through a table, which is several times faster than sorting a batch.
_BITS = 14
_TABLE = 1 << _BITS

#: Spreads values over a table's places: 2**64 divided by the golden ratio, odd. The upper bits are the good ones.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(64 - _BITS)


def number(values: NDArray[Any]) -> tuple[Codes, Codes]:
    """(codes, rows) of a column of integers: `codes[i]` numbers its distinct values from 0, `rows[c]` has value c."""
    if len(values) == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), np.intp), np.zeros(1, np.intp)
    if int(high) - int(low) < _TABLE:
        return through_table((values - low).astype(np.intp), int(high) - int(low) + 1)
    # By a hash, which puts most values into places of their own; where two meet, by sorting. (np.unique would do, but
    # loads numpy.ma.)
    words = values.astype(np.int64, copy=False).view(np.uint64) if values.dtype != np.uint64 else values
    codes, rows = through_table(((words * MULTIPLIER) >> _SHIFT).astype(np.intp), _TABLE)
    return (codes, rows) if bool((values == values[rows][codes]).all()) else _sorted(values)


def _sorted(values: NDArray[Any]) -> tuple[Codes, Codes]:
    order = values.argsort(kind="stable")
    ordered = values[order]
    first = np.empty(len(values), np.bool_)
    first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    codes = np.empty(len(values), np.intp)
    codes[order] = first.cumsum() - 1
    return codes, order[first]


_MOST = int(np.iinfo(np.intp).max)


def combine(columns: Iterable[tuple[Codes, int]], length: int) -> tuple[Codes, Codes]:
    """(codes, rows) of the combinations of several numbered columns, each given with how many codes it may have.

    `codes[i]` numbers the combinations that occur from 0; `rows[c]` is a row that has combination c.
    """
    total: Codes | None = None
    size = 1
    for codes, count in columns:
        if count <= 1:
            continue
        if total is not None and size > _MOST // count:
            total, rows = number(total)
            size = len(rows)
        total = codes if total is None else total * count + codes
        size *= count
    if total is None:
        return np.zeros(length, np.intp), np.zeros(min(length, 1), np.intp)
    return through_table(total, size) if size <= _TABLE else number(total)


def through_table(values: Codes, size: int) -> tuple[Codes, Codes]:
    """The same as `number`, of values from 0 up to below `size`. The table is not filled first: it may be large."""
    every = np.arange(len(values))
    table = np.empty(size, np.int32)
    table[values] = every
    examples = table[values]  # for each row the last one of its value
    rows = np.flatnonzero(examples == every)
    table[values[rows]] = every[: len(rows)]
    return table[values].astype(np.intp), rows


def numbered(column: Column) -> tuple[Codes, int]:
    """A column of attributes for `combine`: code 0 is its absence, unless all rows have the same: a count of 1.

    Texts are not for grouping: TypeError.
    """
    if isinstance(column, Same):
        return _NONE, 1
    if isinstance(column, Coded):
        return column.codes.astype(np.intp) + 1, len(column.values) + 1
    if isinstance(column, Ints):
        codes, rows = number(column.values)
        return np.where(column.present, codes + 1, 0), len(rows) + 1
    if isinstance(column, Bools):
        return np.where(column.present, column.values.astype(np.intp) + 1, 0), 3
    raise TypeError("free texts cannot be grouped by")


def present(column: Column, length: int) -> NDArray[np.bool_]:
    """Which of `length` spans have the attribute."""
    if isinstance(column, Same):
        return np.full(length, column.value is not None)
    if isinstance(column, Coded):
        return column.codes >= 0
    return column.lengths >= 0 if isinstance(column, Texts) else column.present


def value_at(column: Column, row: int) -> str | int | bool | None:
    """The attribute of one row; None: absent."""
    if isinstance(column, Same):
        return column.value
    if isinstance(column, Coded):
        code = int(column.codes[row])
        return column.values[code] if code >= 0 else None
    if isinstance(column, Ints):
        return int(column.values[row]) if column.present[row] else None
    if isinstance(column, Bools):
        return bool(column.values[row]) if column.present[row] else None
    text = column.at(row)
    return None if text is None else text.decode("utf-8", "replace")
