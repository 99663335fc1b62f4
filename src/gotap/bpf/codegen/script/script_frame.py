"""Memory of a script's programs: frames, calls, maps by the names that programs refer to them, counters.

R7 is the frame: a record under construction (probe.script.record.EVENT first), with scratch that never leaves the
kernel *below* it, at negative offsets. Frames are slots of the array map FRAMES; a program claims one while it runs,
since it may be preempted and another one may run on its CPU meanwhile. Inside the target each thread has one, which no
other program can want (`Setting.own_frames`). The verifier takes what is in them for numbers: pointers are kept on the
stack.
"""

from __future__ import annotations

from enum import IntEnum

from gotap.bpf.codegen import frame
from gotap.bpf.codegen.memory import Memory
from gotap.bpf.isa import R7, R10
from gotap.probe.script.record import EVENT
from gotap.probe.script.routine import OWN_TEXT_LIMIT

#: Maps, by the names programs refer to them.
FRAMES = "frames"  # array of `Setting.slots` frames: FRAME_SCRATCH bytes, the largest record, FRAME_TAIL
CALLS = "calls"  # hash: CALL_KEY → CALL
KEPT = "kept"  # + its class: hash, CALL_KEY → the record's first bytes as they were at the call's entry
HEADS = "heads"  # hash: GOROUTINE_KEY → HEAD
HEAD_TEMPLATE = "headtmpl"  # array of one: such a value, zeros
#: Values of HEADS that every machine has memory for from the start, if the map has room for as many.
READY_HEADS = 8192
HEAD_COUNT = "headcount"  # array of one: u64 how many HEADS has, u64 above how many those without a call go
OWN = "own"  # hash: GOROUTINE_KEY → the goroutine's variables
OWN_TEMPLATE = "owntmpl"  # array of one: such a value, zeros
RING = "ring"
COUNTERS = "counters"  # per-CPU array: number of the probe → u64 for each Counter
THIN = "thin"  # array: number of the probe → u32, one firing of so many is taken
UNWINDERS = "unwinders"  # program array: 0: unwinder, 1 + number: the program that it goes back to
STOPPED = "stopped"  # array of one u64: 1 after `stop`
NO_PROGRAMS = frame.NO_PROGRAMS

#: Bytes of a record that travel at once: few sizes, so that a ring's content can be gathered in columns.
SIZES = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 20480, 24576, 32760)
LARGEST_FRAME = SIZES[-1]  # offsets in it fit into 16 bits
#: Room behind a record that is never used: reads that begin within the record may be that long, for the verifier.
FRAME_TAIL = 4096

#: Scratch of a frame, offsets from R7.
FRAME_SCRATCH = 8192
CLAIM = -FRAME_SCRATCH  # u64: 1 while a program has the frame
SAVED = CLAIM + 8  # three words of the header, as they were before an event
GOROUTINE_KEY = SAVED + 24  # u32 target, u32 zero, u64 goroutine; of HEADS and OWN
GOROUTINE_KEY_SIZE = 16
CALL_KEY = GOROUTINE_KEY + GOROUTINE_KEY_SIZE  # u32 target, u32 layout, u64 goroutine, u64 depth
CALL_KEY_SIZE = 24
COUNTER_KEY = CALL_KEY + CALL_KEY_SIZE
READ = COUNTER_KEY + 8
PAIR = READ + 8
TEXT_KEY = PAIR + 16  # a text that is compared with a constant
TEMPORARIES = TEXT_KEY + 64 + 32 * 8  # and downwards
LOCALS = TEMPORARIES + 8
LOCAL_COUNT = 64
WALK_KEY = LOCALS + 8 * LOCAL_COUNT  # a call key, of another call than CALL_KEY
LIMIT = WALK_KEY + CALL_KEY_SIZE  # of an unwinding: calls above this depth have ended
MISSED = LIMIT + 8  # and those above this one had ended before, which nobody saw
RESUME = MISSED + 8  # of the unwinder: number in UNWINDERS of the program to go back to
LOOPS = RESUME + 8  # of each loop around: its first value
LOOP_DEPTH = 4
BUFFER = LOOPS + 8 * LOOP_DEPTH  # a group or bucket of a Go map
PLANNED = BUFFER + 352
PLANNED_END = PLANNED + 1024
TEXT_A = PLANNED_END  # a text that is compared, captured or kept for the goroutine: u64 length, bytes
TEXT_LIMIT = 512
TEXT_SIZE = 8 + TEXT_LIMIT + 8
TEXT_B = TEXT_A + TEXT_SIZE
KEY_BUFFER = TEXT_B + TEXT_SIZE  # key of a script's map
KEY_BUFFER_SIZE = 1536
VALUE_BUFFER = KEY_BUFFER + KEY_BUFFER_SIZE  # value of a script's map
VALUE_BUFFER_SIZE = 544
QUEUE = VALUE_BUFFER + VALUE_BUFFER_SIZE  # of a deep capture: what is still to be followed
QUEUE_SIZE = 2560
LINK_SIZE = 40
LINK = -LINK_SIZE  # of a call: what CALL holds before the record's header
assert QUEUE + QUEUE_SIZE <= LINK

#: A call, in CALLS or in its goroutine's value of HEADS. Layouts that name calls are one more than the layout's number,
#: 0 where there is none. Layout (u32) and depth (u64) of the call outside of this one on the same goroutine, u16 class
#: of what was kept, u16 number of the probe, layout (u32) of the call inside of this one at the same depth, which
#: another probe of the same function follows, u64 address of the entry's instruction; in HEADS also layout (u32, 0: the
#: place is free, or this is in CALLS) and depth (u64) of the call itself; then the record's header
#: (`Setting.call_record` bytes of the record).
OUTER_LAYOUT, KEPT_CLASS, CALL_PROBE, OUTER_DEPTH, INNER_LAYOUT, HERE_LAYOUT, ENTRY_IP, HERE_DEPTH = (
    0, 4, 6, 8, 16, 20, 24, 32)  # fmt: skip
CALL_HEADER = 40
assert CALL_HEADER == LINK_SIZE
assert (KEPT_CLASS, CALL_PROBE, HERE_LAYOUT) == (OUTER_LAYOUT + 4, OUTER_LAYOUT + 6, INNER_LAYOUT + 4)  # stored as one

#: Bytes of a record that are kept of a call, by class from 1 on; the last class keeps the whole record. Class 0 keeps
#: nothing but what is in CALLS.
KEPT_SIZES = (256, 1024, 4096)

#: Value of HEADS: the innermost open call (u32 layout as above, u32 spare, u64 depth; both 0: there is none), what the
#: unwinder is asked for: u64 the depth above which calls have ended, u64 number in UNWINDERS of the program to go back
#: to; then room for `Setting.head_calls` calls.
HEAD_LAYOUT, HEAD_DEPTH, HEAD_LIMIT, HEAD_RESUME, HEAD_SIZE = 0, 8, 16, 24, 32

#: Where words and captures keep what they work with: small reads go to the stack, where the kernel's check of what it
#: writes to is quickest (see gotap.bpf.codegen.frame), but the body of a loop has hardly any stack of its own.
ON_STACK = Memory(
    base=R10,
    read=frame.READ,
    pair=frame.PAIR,
    key=frame.KEY,
    temporary_base=R7,
    temporaries=TEMPORARIES,
    temporary_count=32,
    map_header=frame.MAP_HEADER,
    buffer=BUFFER,
    planned=PLANNED,
    planned_end=PLANNED_END,
    blocks=frame.BLOCKS,
    blocks_end=frame.BLOCKS_END,
)
IN_FRAME = Memory(
    base=R7,
    read=READ,
    pair=PAIR,
    key=TEXT_KEY,
    temporary_base=R7,
    temporaries=TEMPORARIES,
    temporary_count=32,
    map_header=TEXT_KEY,
    buffer=BUFFER,
    planned=PLANNED,
    planned_end=PLANNED_END,
    blocks=0,
    blocks_end=0,
)

#: What bpf_loop hands to a callback: R6 and R7, offset from R10, in the program and in a callback that loops itself.
LOOP_STATE = frame.LOOP
LOOP_STATE_INSIDE = -16
#: The state of a walk through a Go map, on the stack of a loop's body.
WALK_STATE_INSIDE = -64


class Counter(IntEnum):
    """What is counted for each probe."""

    HITS = 0  # its sites were passed, of calls their entries, and the firing was taken
    EVENTS = 1  # sent
    FALSE = 2  # its predicate did not hold
    RING_FULL = 3  # events lost
    FRAMES_BUSY = 4  # firings lost: every frame was in use
    CALLS_FULL = 5  # calls not followed: too many were open
    UNREADABLE = 6  # statements left out: a word of theirs could not be had
    UNPAIRED = 7  # returns of calls that began before the attach
    LOOP_CUT = 8  # loops that would have gone on
    HEAP_FULL = 9  # events from which something was left out for lack of room
    STALE = 10  # calls whose end was missed
    NO_GOROUTINE = 11  # firings lost: the goroutine could not be read
    MAP_FULL = 12  # not stored: the script's map was full
    OWN_FULL = 13  # not stored: too many goroutines have variables
    DEPTH_CUT = 14  # events with values whose pointers were not all followed


COUNTER_COUNT = 16


def field(name: str) -> int:
    """Offset of a header field in the record."""
    fields = EVENT.fields
    assert fields is not None
    return int(fields[name][1])


def own_offsets(count: int, texts: frozenset[int]) -> tuple[dict[int, int], int]:
    """Where each variable stands in a goroutine's value of OWN, and the value's size. A text: u64 length, bytes."""
    offsets, at = {}, 0
    for slot in range(count):
        offsets[slot] = at
        at += 8 + OWN_TEXT_LIMIT if slot in texts else 8
    return offsets, max(at, 8)
