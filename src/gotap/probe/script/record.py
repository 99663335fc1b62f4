"""The record of a script's event: what leaves the kernel when a probe prints or a call ends.

An EVENT header, as long as record.HEADER and alike up to `present`, then columns and heap as there. What pointers lead
to is in the heap too, as chunks: a CHUNK header, its bytes, padded to 8. `chunks` 0: there are none; else nothing but
chunks stands from there up to `used`, where fewer bytes than a header has may be left over. Other parts of the heap
that come later (texts, stacks and values' own bytes of a call's end, behind the chunks of its entry) are wrapped: a
chunk whose address is 0 holds all that one event put there before its own chunks, and columns lead into it. A reader
walks the chunks and passes over those of address 0.

A column of kind VALUE whose `kept` is 0 while its `length` is not: the value's own memory could not be read. A chunk of
`length` 0 says the same of what a pointer leads to. All integers are little-endian.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np

from gotap.probe.record import HEADER

EVENT = np.dtype(
    [
        ("version", "<u2"),
        ("layout", "<u2"),  # Layout.operation_id
        ("event", "u1"),  # Emit.event
        ("flags", "u1"),  # EventFlags
        ("used", "<u2"),  # bytes of header, columns and heap in use
        ("pid", "<u4"),  # process id as gotap sees it
        ("target", "<u4"),
        ("begin", "<u8"),  # CLOCK_MONOTONIC, ns: the call's entry, or when the probe fired
        ("end", "<u8"),  # CLOCK_MONOTONIC, ns: the call's end; 0 where there is none
        ("goid", "<u8"),  # 0: not a goroutine
        ("present", "<u8"),  # bit i: column i holds a value
        ("tid", "<u4"),
        ("site", "<u4"),  # the site's number (its attach cookie): of a call the entry's
        ("weight", "<u4"),  # this event stands for so many, when probes are thinned; of print(@m): the epoch
        ("chunks", "<u2"),  # where the chunks begin
        ("ended", "u1"),  # routine.Ended
        ("cpu", "u1"),
        ("sequence", "<u8"),  # by which all events can be put in the order in which they were sent; the reader sets it
        ("spare", "<u8"),
    ]
)
assert EVENT.itemsize == HEADER.itemsize

#: A piece of the process's memory: `length` bytes from `address`; `full`: how many there would have been (2^32 − 1: or
#: more).
CHUNK = np.dtype([("address", "<u8"), ("length", "<u4"), ("full", "<u4")])


class EventFlags(IntFlag):
    HEAP_FULL = 8  # something was left out for lack of room (as record.RecordFlags)
    DEPTH_CUT = 16  # a pointer was not followed, since enough had been
    THINNED = 32  # weight is more than 1
