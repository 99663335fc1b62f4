"""What lies where in the memory that target and gotap share. Everything is little-endian, offsets are bytes.

    header       one page: who made this, the clock, what memory is always readable, counters
    slots        one per thread: where a hook saves registers, and the stacks that programs run on
    then, in the order they were asked for, maps and rings, each a descriptor and its memory

Nothing in it is an absolute address, since target and gotap map it at different ones: descriptors lead to their memory
by its distance from themselves. (Values of program arrays are addresses of code in the target.)

Threads of the target write here at any time, also while gotap reads, and a target gone mad may have written anything:
readers take no number from here as an index or a length unchecked.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from gotap.bpf.isa import PT_REGS_SIZE

MAGIC = int.from_bytes(b"gotaphk\0", "little")
VERSION = 1
PAGE = 4096

#: How many values a per-CPU value is: threads write to the one of their slot's stripe, so that few share a cache line.
STRIPES = 8
#: So many stripes have one thread each, the first that claim slots; all other threads share what is left.
OWN_STRIPES = STRIPES // 2
#: Unless the target has many threads.
SLOTS = 256
CACHE_LINE = 64


class Header(IntEnum):
    """Offsets in the first page. Written by gotap, but for the counters."""

    MAGIC = 0x00  # u64, written last: what has it is complete
    VERSION = 0x08  # u32
    SIZE = 0x10  # u64, of the region
    OWNER_PID = 0x28  # u32, of the gotap that attached, in its own pid namespace
    OWNER_START = 0x30  # u64, its start time as /proc/PID/stat has it (field 22)
    GENERATION = 0x38  # u32: threads ask for their ids anew when it differs from their slot's
    TGID = 0x40  # u32: the target's pid as gotap sees it
    COMM = 0x48  # 16 bytes, the target's name, ends with a zero
    SLOTS = 0x58  # u64 offset
    SLOT_COUNT = 0x60  # u32, a power of two
    CLOCK = 0x80  # u64: number of the clock's setting; its lowest bit says which of the two records holds
    CLOCK_RECORDS = 0xC0  # two of Clock
    RANGES = 0x100  # RANGE_COUNT of Range
    BUSY = 0x300  # u64 counter: hits dropped since the thread's slot was in use (a signal handler's, say)
    NO_SLOT = 0x340  # u64 counter: hits dropped since all slots had owners
    CLAIMED = 0x380  # u32 counter: slots that were ever claimed
    WAITING = 0x3C0  # u32: 1 while gotap sleeps until a record wakes it; a futex


class Clock(IntEnum):
    """CLOCK_MONOTONIC in ns = NS + (TSC − TSC0) · MULT / 2³²."""

    TSC0 = 0x00
    NS = 0x08
    MULT = 0x10
    SIZE = 0x20


class Range(IntEnum):
    """Memory of the target that stays readable for its life: [LOW, HIGH). HIGH may grow, unused ones have it 0."""

    LOW = 0x00
    HIGH = 0x08
    SIZE = 0x10


RANGE_COUNT = 16


class Slot(IntEnum):
    """Of one thread. Number 0 is gotap's own, for what it runs itself; threads have those from 1 on."""

    OWNER = 0x00  # u64: FS base of the thread, 0 before it has one
    CLAIM = 0x08  # u32: bit 0 set before OWNER is
    BUSY = 0x0C  # u8: 1 while a hook runs; only the owner writes it, except that nobody runs in slots without owner
    ALONE = 0x0D  # u8: 1 if no other thread has its stripe, so that nobody else writes to its per-CPU values
    STRIPE = 0x10  # u32: which of the STRIPES it has
    TID = 0x14  # u32: id of the thread in its own pid namespace, 0: not asked yet
    GENERATION = 0x18  # u32: as Header.GENERATION was when it was asked
    LOCK = 0x1C  # u32: what its owner writes into Bucket.LOCK: 1, gotap 2
    COOKIE = 0x20  # u64: what GET_ATTACH_COOKIE gives, set by the hook
    RANDOM = 0x28  # u64: state of the random numbers, never 0
    SAVED = 0x30  # 16 bytes that hooks may use
    CONTEXT = 0x40  # struct pt_regs
    CLAIMING = 0xE8  # u64: what a thread keeps while it gets its stripe
    ELEMENTS = 0x100  # KEPT_ELEMENTS u32: elements that this thread has deleted and keeps for its next updates
    WORK = 0x200  # where helpers keep what they work with
    STACK_END = 0x300
    STACK = 0x2000  # grows downwards from here, as far as STACK_END
    SIZE = 0x2000


assert Slot.CONTEXT + PT_REGS_SIZE <= Slot.CLAIMING

#: Maps that have a place in Slot.ELEMENTS.
KEPT_ELEMENTS = (Slot.WORK - Slot.ELEMENTS) // 4


class Descriptor(IntEnum):
    """Of a map; what programs have as its address. Nothing here ever changes, so gotap works with a copy of its own
    that no target can touch. Offsets lead from the descriptor (a copy's from the copy) to the map's memory.
    """

    KIND = 0x00  # u32 MapType
    FLAGS = 0x04  # u32 Flags
    KEY_SIZE = 0x08  # u32
    VALUE_SIZE = 0x0C  # u32: bytes that an update brings; of per-CPU maps to one stripe
    MAX_ENTRIES = 0x10  # u32
    STRIDE = 0x14  # u32: from one value of an array to the next; of a hash from one element to the next, in words
    STRIPE = 0x18  # u32: from one stripe's value to the next, 0 where all threads share one
    VALUE = 0x1C  # u32: offset of the value in an element
    MASK = 0x20  # u32: number of buckets - 1; of a ring number of rings - 1
    ELEMENT = 0x24  # u32: where a slot has the element that its thread keeps for its next update, 0: none does
    END = 0x28  # u64: of a hash words of all elements and the first one's name; of a ring bytes of one ring's data
    STATE = 0x30  # u64 offset of State or of the first RingState
    VALUES = 0x38  # u64 offset of an array's values, a hash's elements, a ring's data
    BUCKETS = 0x40  # u64 offset
    SIZE = 0x80


class Flags(IntFlag):
    """Of Descriptor.FLAGS."""

    ARRAY = 1
    PER_CPU = 2
    EVICTS = 4  # a full map gives up what has not been used lately (LRU_HASH)


class State(IntEnum):
    """Of a hash: what changes."""

    FREE = 0x00  # u64: u32 name of the first free element or 0, u32 how often that changed
    FRESH = 0x40  # u64: name of the first element that was never used
    LIMIT = 0x48  # u64: elements before this one have memory; gotap moves it on
    HAND = 0x80  # u32: where eviction looks next
    SIZE = 0xC0


class Element(IntEnum):
    """Of a hash: its key, then its value. Its name is its offset / 8; no element has 0."""

    NEXT = 0x00  # u32: the next one in the bucket, or END | number of the bucket
    HASH = 0x04  # u32 of its key
    LINK = 0x08  # u32: the next free one
    USED = 0x0C  # u32: 1 if it was looked up since eviction last came by
    KEY = 0x10


#: Element.NEXT and a bucket's first element when there is no further one. Says which bucket's end it is: who is led
#: astray, because the element it stood on has been deleted and used again, notices here.
END = 1 << 31


class Bucket(IntEnum):
    """8 bytes."""

    FIRST = 0x00  # u32
    LOCK = 0x04  # u32: not 0 while somebody changes the bucket
    SIZE = 0x08


class RingState(IntEnum):
    """A ring is several, up to STRIPES; this is of one."""

    CONSUMER = 0x00  # u64: bytes that gotap has read
    PRODUCER = 0x40  # u64: bytes that were reserved
    SIZE = 0x80


class Record(IntEnum):
    """What stands before a record's bytes. LENGTH is 0 until it is complete; gotap makes 0 of what it has read."""

    LENGTH = 0x00  # u32: its length, perhaps with DISCARDED
    TIME = 0x04  # u32: the TSC / 2^TIME_SHIFT when it was complete, until then its length
    SIZE = 0x08


DISCARDED = 1 << 30
LENGTH_MASK = DISCARDED - 1
TIME_SHIFT = 5


def aligned(value: int, to: int) -> int:
    """The next multiple of `to`."""
    return -(-value // to) * to
