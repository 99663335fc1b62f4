"""PC-value tables: how the function table says what holds where in a function (line, file, stack depth, inlining).

Pairs of varints: zigzag delta of the value (from −1), delta of the PC in quanta; a value's delta of 0 that is not the
first ends the table. Source: step and readvarint in runtime/symtab.go, cmd/internal/obj/pcln.go; Go 1.2–1.27.
"""

from __future__ import annotations

from gotap.image.errors import ImageError

#: Rows of one table: a function of a megabyte has some ten thousand.
_MOST_ROWS = 1 << 18
#: (start, end, value), offsets in bytes from the function's entry
Row = tuple[int, int, int]


class MalformedPclntab(ImageError):
    """The function table contradicts itself."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the Go function table is damaged: {what}", "build the program again, without a packer")


def decode(table: bytes | memoryview, offset: int, quantum: int) -> list[Row]:
    """The rows of the table at that offset, ascending and without gaps. Raises MalformedPclntab."""
    rows: list[Row] = []
    at, pc, value = offset, 0, -1
    try:
        while True:
            delta, at = _varint(table, at)
            if delta == 0 and rows:
                return rows
            value += _unzigzag(delta)
            step, at = _varint(table, at)
            if len(rows) == _MOST_ROWS:
                raise MalformedPclntab(f"the PC table at offset {offset:#x} has too many rows")
            rows.append((pc, pc + step * quantum, value))
            pc += step * quantum
    except IndexError:
        raise MalformedPclntab(f"the PC table at offset {offset:#x} has no end") from None


def first_value(table: bytes | memoryview, offset: int) -> int:
    """The value at the function's entry, without decoding the rest. Raises MalformedPclntab."""
    try:
        return _unzigzag(_varint(table, offset)[0]) - 1
    except IndexError:
        raise MalformedPclntab(f"there is no PC table at offset {offset:#x}") from None


def value_at(rows: list[Row], at: int) -> int:
    """The value at an offset from the entry, −1 where the table says nothing."""
    return next((value for start, end, value in rows if start <= at < end), -1)


def _unzigzag(delta: int) -> int:
    return -((delta + 1) >> 1) if delta & 1 else delta >> 1


def _varint(table: bytes | memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = table[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 or shift > 28:
            return value, at
        shift += 7
