"""The record: what leaves a mechanism (kernel, in-process ring) when an operation has ended. It knows no mechanism.

A record is a HEADER, then 8-byte columns in the order of the operation's layout, then a heap that holds the texts.
It travels padded to one of SIZE_CLASSES. All integers are little-endian.
"""

from __future__ import annotations

from enum import Enum, IntFlag

import numpy as np
from msgspec import Struct

VERSION = 1

#: A request's trace state, captured beside a remote parent by every operation that has one.
TRACE_STATE = "tracestate"

#: Bytes a record may take on its way, so that a ring's content can be gathered in columns.
SIZE_CLASSES = (256, 512, 768, 1536, 3584)

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("operation", "<u2"),  # Layout.operation_id
        ("outcome", "u1"),  # index of the end that was taken, in the order of the operation's ends
        ("flags", "u1"),  # RecordFlags
        ("used", "<u2"),  # bytes of header, columns and heap in use
        ("pid", "<u4"),  # process id as gotap sees it
        ("target", "<u4"),  # which attached process (our own number, not a pid)
        ("begin", "<u8"),  # CLOCK_MONOTONIC, ns
        ("end", "<u8"),  # CLOCK_MONOTONIC, ns
        ("goid", "<u8"),  # goroutine of the begin
        ("present", "<u8"),  # bit i: column i holds a value
        ("trace_id", "u1", (16,)),
        ("span_id", "u1", (8,)),
        ("parent_id", "u1", (8,)),  # zeros: none
    ]
)

#: A text's column: where its kept bytes start in the record, how many were kept, how long the value was.
TEXT = np.dtype([("offset", "<u2"), ("kept", "<u2"), ("length", "<u4")])


class RecordFlags(IntFlag):
    SAMPLED = 1  # the decision made at the begin; unsampled operations count in metrics only
    REMOTE_PARENT = 2  # the parent came from a request header
    LOCAL_PARENT = 4  # the parent is an operation of this process
    HEAP_FULL = 8  # at least one text was dropped for lack of room


class ColumnKind(Enum):
    INT = "int"  # signed 64 bit
    UINT = "uint"  # unsigned 64 bit
    BOOL = "bool"
    TEXT = "text"  # TEXT, bytes in the heap; kept < length: cut
    TYPE = "type"  # unrelocated address of a Go runtime type descriptor; 0: nil interface
    VALUE = "value"  # TEXT, the bytes of a Go value in the heap (gotap.probe.script.record)
    STACK = "stack"  # TEXT, 8-byte addresses in the heap
    KEPT = "kept"  # a word one probe leaves for a later one; of no meaning outside


class Column(Struct, frozen=True):
    """Column `index` of a layout: bit `index` of `present`, 8 bytes at `HEADER.itemsize + 8 * index`."""

    name: str
    kind: ColumnKind
    index: int
    limit: int = 0  # TEXT: bytes kept at most

    @property
    def offset(self) -> int:
        return HEADER.itemsize + 8 * self.index


class Layout(Struct, frozen=True):
    """How the records of one operation are laid out."""

    operation: str
    operation_id: int
    columns: tuple[Column, ...]

    @property
    def heap_offset(self) -> int:
        return HEADER.itemsize + 8 * len(self.columns)

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


class Attribute(Struct, frozen=True):
    """One attribute of the signal: a named conversion applied to columns. Absent columns are passed as None."""

    key: str
    conversion: str
    inputs: tuple[str, ...]
    params: tuple[tuple[str, tuple[str, ...] | str | int], ...] = ()  # constants the catalogue gives the conversion


class Output(Struct, frozen=True):
    """What an operation's records become: the mechanism-free half of a bound catalogue entry.

    The span's status is ERROR exactly when the attribute `error.type` is present.
    `name` is a template: `{key}` stands for an attribute, `{key|A=B}` replaces the value A by B, `{one,other}` stands
    for the first that is present; an absent one vanishes with the blank before it. `metric` is the histogram's name or
    None; `metric_attributes` its dimensions.
    """

    operation: str
    kind: str  # server, client, internal, producer, consumer
    name: str
    attributes: tuple[Attribute, ...]
    metric: str | None
    metric_attributes: tuple[str, ...]
    layout: Layout
    scope: str  # instrumentation scope: the library's import path
