"""The form of the shapes: two arrays that the kernel reads while it follows a value's pointers.

A *shape* is what a type's memory looks like to somebody who only wants to know where its pointers lead. Shape `n` is
`heads[n]`; its pointers are `pointers[first : first + count]`, by offset. Shape 0 has no size and no pointers.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
from msgspec import Struct

#: `size`: bytes of one value; `kept`: how many of them are taken, fewer of long arrays only.
HEAD = np.dtype([("size", "<u4"), ("kept", "<u4"), ("first", "<u4"), ("count", "<u2"), ("flags", "<u2")])

#: A pointer at `offset`: `target` and `extra` as What says.
POINTER = np.dtype(
    [
        ("offset", "<u4"),
        ("what", "u1"),
        ("flags", "u1"),  # PointerFlags
        ("spare", "<u2"),
        ("target", "<u4"),
        ("extra", "<u4"),
    ]
)


class What(IntEnum):
    """What stands at the offset."""

    INLINE = 1  # no pointer: `extra` values of `target` in a row, part of this one
    POINTER = 2  # to one `target`
    STRING = 3  # pointer, length
    SLICE = 4  # pointer, length: so many of `target`
    IFACE = 5  # itab, data word
    EFACE = 6  # type descriptor, data word
    FUNC = 7  # pointer to a function value, `target`: code address, captured variables
    DIRECTORY = 8  # Swiss map: dirPtr, dirLen: with dirLen 0 to one group, `target`, else to so many of `extra`
    GROUPS = 9  # Swiss table: groups.data, lengthMask: one more than that of `target`
    BUCKETS = 10  # hmap.buckets: 2^B of `target`
    OLD_BUCKETS = 11  # hmap.oldbuckets: half as many, or as many
    CAPTURED = 12  # perhaps a pointer to the heap, to one `target`


class PointerFlags(IntFlag):
    FREE = 1  # following it does not count as a step deeper
    CHAIN = 2  # a context.Context: its chain of parents is followed further than other pointers


class HeadFlags(IntFlag):
    DIRECT = 1  # an interface holds such a value itself in its data word
    CUT = 2  # it has more pointers than are listed


class Pointer(Struct, frozen=True):
    """One row of POINTER."""

    offset: int
    what: What
    target: int = 0
    extra: int = 0
    flags: int = 0

    def row(self, offset: int = 0) -> tuple[int, int, int, int, int, int]:
        return (self.offset + offset, int(self.what), self.flags, 0, self.target, self.extra)


class Shape(Struct, frozen=True):
    """One row of HEAD and its pointers."""

    size: int
    kept: int
    pointers: tuple[Pointer, ...] = ()
    flags: int = 0


#: Pointers of one shape that are listed at most.
MOST_POINTERS = 1024

#: Bytes taken of a channel: the part of runtime.hchan with length, capacity and whether it is closed (Go 1.18–1.27).
CHANNEL = Shape(48, 48)

#: Bytes taken of what has no known length: nothing at hand tells what a function value captured.
GUESSED = 64


def function_shapes(first: int) -> tuple[Shape, Shape, Shape]:
    """The shapes `first` to `first + 2`: a function value, whose words behind the code's address may be pointers to the
    heap (to variables captured by reference, to a method value's receiver); such a variable, which may begin with a
    text, slice or interface; and what that leads to."""
    captured, variable = first + 1, first + 2
    words = tuple(Pointer(offset, What.CAPTURED, captured) for offset in range(8, GUESSED, 8))
    header = tuple(Pointer(offset, What.CAPTURED, variable) for offset in (0, 8, 16))
    return Shape(GUESSED, GUESSED, words), Shape(GUESSED, GUESSED, header), Shape(GUESSED, GUESSED)


#: Bytes of runtime.hmap (1.18–1.23) and internal/runtime/maps.Map (1.24–1.27).
MAP_SIZE = 48
