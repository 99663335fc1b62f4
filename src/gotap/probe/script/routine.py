"""Routines: what a script does at its sites, as data for every backend. Words and texts are those of gotap.probe.ir.

A statement whose words fail (nil pointer, page that is not in memory) is left out and counted; a column that fails is
absent. A predicate that fails does not hold. Everything is immutable and hashable.

A *frame* is the record under construction: probe.script.record.EVENT, 8-byte columns, a heap. A routine that fires at
once borrows one; a call keeps one from its entry to its end. Either way `Emit` fills columns and sends the frame as it
is, so that all events of one routine share one layout, and `event` tells them apart.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from msgspec import Struct

from gotap.probe import ir
from gotap.probe.record import Column, Layout

#: Goroutine-local variables and locals are numbered; each is one word, or a text of at most this many bytes.
OWN_TEXT_LIMIT = 128

#: Rounds that a loop makes at most; more are cut, and counted.
LOOP_LIMIT = 1 << 16


class Ended(IntEnum):
    """How a call ended: EVENT.ended."""

    RETURN = 0
    PANIC = 1
    GOEXIT = 2
    OPEN = 3  # not a call, or not ended yet


class SetLocal(Struct, frozen=True):
    """Locals live for one firing. A text is two locals: pointer and length."""

    slot: int
    value: ir.Word


class SetOwn(Struct, frozen=True):
    """A variable of the running goroutine. `add`: what it holds plus the value; only words can be added to."""

    slot: int
    value: ir.Word | ir.AnyText
    add: bool = False


class Store(Struct, frozen=True):
    """`@m[keys] = value` or `+=`."""

    map: int
    keys: tuple[ir.Key, ...]
    value: ir.Word | ir.AnyText
    add: bool = False


class Tally(Struct, frozen=True):
    """Aggregates `value` under `keys`: keeps count, sum, least and greatest of the signed or unsigned words.

    A histogram is a tally with the bucket (ir.Log2, ir.Linear, ir.LogLinear) as its last key; `top` has there what it
    counts.
    """

    map: int
    keys: tuple[ir.Key, ...]
    value: ir.Word
    signed: bool


class Remove(Struct, frozen=True):
    map: int
    keys: tuple[ir.Key, ...]


class ClearMap(Struct, frozen=True):
    """Takes effect at once: what is stored from now on belongs to the map's next epoch."""

    map: int


class CaptureValue(Struct, frozen=True):
    """Stores a value of any type: its own bytes into the heap, and what its pointers lead to as chunks.

    `parts`: (offset, size, word) for a value in registers, or `address` for one in memory. `shape` is the number of its
    type in the shapes (gotap.probe.shapes). The column is a record.TEXT: offset, kept, length of the value's own bytes.
    """

    column: Column
    shape: int
    size: int
    parts: tuple[tuple[int, int, ir.Word], ...] = ()
    address: ir.Word | None = None
    when: tuple[ir.Word, ...] = ()  # where one of these does not hold the column is absent


class CaptureStack(Struct, frozen=True):
    """Return addresses, innermost first: the column is a record.TEXT of 8-byte words."""

    column: Column
    stack: ir.Stack


class Emit(Struct, frozen=True):
    """Sends an event. Columns that were filled before (at a call's entry) go along.

    `event`: what it is, see gotap.probe.script.bound.EventSpec. `wake`: the reader should come at once. `stop`: once it
    has been sent no other firing does anything, but those of `end`.
    """

    event: int
    captures: tuple[ir.Capture, ...] = ()
    values: tuple[CaptureValue, ...] = ()
    stacks: tuple[CaptureStack, ...] = ()
    wake: bool = False
    stop: bool = False
    epoch_of: int | None = None  # print(@m): the map's epoch at this moment goes into EVENT.weight


class Branch(Struct, frozen=True):
    when: ir.Word
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


class Loop(Struct, frozen=True):
    """`slot` takes the values from `first` up to before `limit`, signed."""

    slot: int
    first: ir.Word
    limit: ir.Word
    body: tuple[Statement, ...]


Statement = SetLocal | SetOwn | Store | Tally | Remove | ClearMap | Emit | Branch | Loop


class Watch(Struct, frozen=True):
    """Fires at its sites, once each time.

    `owner`: the id of the goroutine whose variables are meant, where that is not the one that runs.
    """

    layout: Layout
    when: tuple[ir.Word, ...]
    body: tuple[Statement, ...]
    owner: ir.Word | None = None


class Enter(Struct, frozen=True):
    """A call begins: opens its frame, found again by goroutine, `layout` and depth, and stores what its end will need.

    Where `when` does not hold the call is not followed at all.
    """

    layout: Layout
    when: tuple[ir.Word, ...]
    captures: tuple[ir.Capture, ...] = ()
    values: tuple[CaptureValue, ...] = ()
    stacks: tuple[CaptureStack, ...] = ()


class Leave(Struct, frozen=True):
    """A call returns. Calls deeper in the same stack that are still open ended unseen: they are counted, not told."""

    layout: Layout
    when: tuple[ir.Word, ...]
    body: tuple[Statement, ...]


class Unwound(Struct, frozen=True):
    """What to do for a call of this layout that ends without returning."""

    layout: Layout
    when: tuple[ir.Word, ...]
    body: tuple[Statement, ...]


class Unwind(Struct, frozen=True):
    """Calls of a goroutine end without returning.

    `goid`: whose; `above`: calls whose frames lie deeper than this depth (stack.hi − SP). None: all calls of the
    running goroutine that this place's frame is inside of; what is open deeper than that ended unseen before.
    """

    goid: ir.Word
    above: ir.Word | None
    ended: Literal["panic", "goexit"]
    calls: tuple[Unwound, ...]


class Forget(Struct, frozen=True):
    """A goroutine ends: its variables are given up."""

    goid: ir.Word


Routine = Watch | Enter | Leave | Unwind | Forget
