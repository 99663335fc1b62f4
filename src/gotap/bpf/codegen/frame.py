"""Memory of the generated programs: the row in the in-flight map, its scratch part, stack, counters, map keys."""

from __future__ import annotations

from enum import IntEnum

from gotap.bpf.isa import STACK_SIZE
from gotap.probe.record import HEADER, SIZE_CLASSES

#: A row is the first part of a record under construction, then scratch that never leaves the kernel. A new row is a
#: copy of a whole template, so rows are kept small: most records need no more. Texts that find no room in the first
#: part go to a value of the spill map, of the same key: a whole record, whose first part is copied from the row when
#: it is sent.
FIRST_PART = SIZE_CLASSES[2]
RECORD_SIZE = SIZE_CLASSES[-1]
SCRATCH_SIZE = 800
ROW_SIZE = FIRST_PART + SCRATCH_SIZE

#: Parts of the scratch, offsets in the row.
BUFFER = FIRST_PART  # a map group or bucket; afterwards a traceparent: one use at a time
BUFFER_SIZE = 352
PLANNED = BUFFER + BUFFER_SIZE  # blocks and memoised words, placed by the planner
PLANNED_END = ROW_SIZE

#: Stack slots, offsets from R10. The kernel reads the process faster onto the stack than anywhere else: its check of
#: what it writes to (HARDENED_USERCOPY) knows the thread's stack at once, and looks other memory up.
GOID = -8
DEPTH = -16
CHILD = DEPTH  # goid of a new goroutine
ROW_KEY = -40  # u32 target, u32 operation, u64 goid, u64 depth
ROW_KEY_SIZE = 24
COUNTERS = -56  # pointer to this CPU's counters
COUNTERS_KEY = -60
READ = -72  # one word read from the process
PAIR = -88  # an interface read from the process
LINK = -104  # u64 goid, u64 span id
LOOP = -168  # state of a loop's callback, 64 bytes
SCOPE_KEY = LOOP  # u32 target, u32 kind, u64 goid or context data word, u64 subject: never while a loop runs
SCOPE_KEY_SIZE = 24
TEMPORARIES = -176  # and downwards, 8 bytes each
TEMPORARY_COUNT = 8
KEY = -296  # a text that is compared with a constant, or a map's header
KEY_SIZE = 64
MAP_HEADER = KEY
MAP_HEADER_SIZE = 32
BLOCKS = -416  # small blocks, placed by the planner
BLOCKS_END = KEY
EARLY = BLOCKS  # before there is a row: part of a g
EARLY_SIZE = KEY + KEY_SIZE - BLOCKS
STACK_END = BLOCKS

#: A program, the callback of a loop and the subprogram that it calls share 512 bytes; kernels before 6.8 (or without
#: a compiler) round the stack of each up to 32. The callback has 16 bytes, the subprogram a key.
assert -STACK_END + 32 + KEY_SIZE <= STACK_SIZE

#: Kinds of scope keys.
SCOPE_GOROUTINE = 0
SCOPE_CONTEXT = 1
SCOPE_SUBJECT = 2  # what an open operation is about; its number stands above in the kind

#: Value of the scopes map: the header of the operation's row when it began, so that a row may stand for its scope.
#: Where a record has its end, what names the operation in its row's key (of a subject: the depth of its begin); where
#: it has its parent, of which a scope tells nobody, the context's data word once more.
SCOPE_SIZE = HEADER.itemsize

#: Value of the links map: goid that owns the operation, its span id.
LINK_SIZE = 16


class Counter(IntEnum):
    """Indices of the per-CPU counters; HITS and above: hits of each program."""

    BEGUN = 0
    ENDED = 1
    NO_BEGIN = 2  # an end without a begin: in flight at the attach
    NESTED = 3  # a begin inside the same operation
    STALE = 4  # a begin that found a row whose end never came
    ROWS_FULL = 5
    RING_FULL = 6
    NO_GOROUTINE = 7  # the goroutine could not be read
    HEAP_FULL = 8
    HITS = 16


COUNTER_COUNT = 64

#: Maps by the names programs refer to them.
ROWS, SCOPES, LINKS, RING, COUNTERS_MAP, TEMPLATE = "rows", "scopes", "links", "ring", "counters", "template"
SPILL, SPILL_TEMPLATE = "spill", "spilltmpl"
AGGREGATES = "aggregates"
NO_PROGRAMS = "noprograms"  # a program array that stays empty

#: runtime.itab: the dynamic type's address behind the interface's, as in gotap.probe.compiler.
ITAB_TYPE = 8

#: Operation number of rows that programs without an operation borrow as scratch.
BORROWED = 0xFFFFFFFF


def field(name: str) -> int:
    """Offset of a header field in the row."""
    fields = HEADER.fields
    assert fields is not None
    return int(fields[name][1])


SCOPE_ROW = field("end")
SCOPE_WORD = field("parent_id")
