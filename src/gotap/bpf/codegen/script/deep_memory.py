"""What the programs of deep captures work with: their setting, their scratch, the maps of shapes."""

from __future__ import annotations

from msgspec import Struct

from gotap.bpf.asm import Assembler
from gotap.bpf.isa import R0, R1, R2, R7, R10, Helper
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import CHUNK, EVENT

#: Maps by the names programs refer to them: arrays of shapes_table.HEAD and POINTER, and of pairs of u32: the shapes of
#: descriptors, see gotap.observe.shape_maps.
SHAPES, SHAPE_POINTERS, DESCRIPTORS = "shapes", "shapeptrs", "rtypes"

#: Pieces of memory whose pointers wait to be followed; a power of two.
QUEUE_LENGTH = 128
#: Pieces are remembered so as not to be taken twice: pairs of u32, the later one first.
SEEN_BITS = 5
SEEN_LENGTH = 1 << SEEN_BITS

# Scratch, 8-byte words, offsets in it. First the queue's ends.
HEAD, TAIL = 0, 8
# The piece whose pointers are being followed: where the current element and the piece itself stand in the record, its
# pointers' rows, the next of them, elements left, bytes from one to the next, steps that led here.
POSITION, END, FIRST, COUNT, NEXT, LEFT, STRIDE, DEPTH = range(16, 80, 8)
# The pointer that is being followed: its place, how many values it leads to and how many of them are taken, bytes; and
# what goes into the queue for them.
AT, LENGTH, MOST, BYTES, FULL = range(80, 120, 8)
NEW_POSITION, NEW_END, NEW_SHAPE, NEW_COUNT, NEW_DEPTH = range(120, 160, 8)
RUN = 160  # of the main program: the header of the chunk that holds an event's late parts, 0: there is none
CHUNK_AT, PART = 168, 176  # of a copy: where its header stands, how many bytes are being read
SEEN = 184
QUEUE = SEEN + 8 * SEEN_LENGTH
#: In the queue: u16 position, u16 end, u32 elements, u32 shape, u16 depth.
ENTRY_POSITION, ENTRY_END, ENTRY_COUNT, ENTRY_SHAPE, ENTRY_DEPTH, ENTRY_SIZE = 0, 2, 4, 8, 12, 16
SCRATCH_SIZE = QUEUE + ENTRY_SIZE * QUEUE_LENGTH

#: A depth counts steps from 1 in its low byte, contexts of a chain above.
ROOT_DEPTH = 1
CHAIN_STEP = 1 << 8
LONGEST_CHAIN = 32
DEEPEST = 200

CHUNK_HEADER = CHUNK.itemsize
CHUNK_ADDRESS, CHUNK_LENGTH, CHUNK_FULL = 0, 8, 12


class DeepSetting(Struct, frozen=True):
    """Constants of the programs.

    `record_size`: bytes of the largest record, a multiple of 8; behind it the frame has `tail` more. `scratch`: where
    SCRATCH_SIZE bytes of the frame are, from R7. `slot`: 8 bytes of the program's stack, for what a callback is given.
    `read_only`: unrelocated starts and ends of memory that need not be captured. `dynamic_first`, `dynamic_count`: what
    descriptors DESCRIPTORS is about, see probe.shapes.Dynamic; the count is 0 where no interface is met.
    """

    record_size: int
    scratch: int
    tail: int
    slot: int
    limits: Limits
    bias: int = 0
    read_only: tuple[tuple[int, int], ...] = ()
    dynamic_first: int = 0
    dynamic_count: int = 0
    has_loop: bool = True

    @property
    def chunk_limit(self) -> int:
        """Bytes of one chunk at most, but for texts."""
        return min(self.tail, self.record_size) - CHUNK_HEADER

    @property
    def lowest(self) -> int:
        """Where the part of the frame begins that the rounds work on, from R7."""
        return min(0, self.scratch)

    @property
    def step(self) -> str:
        """The subprogram of one round. Without bpf_loop it is a global function, which the verifier looks at once and
        not as often as it may be called."""
        size = max(self.record_size + self.tail, self.scratch + SCRATCH_SIZE) - self.lowest
        return "deep.step" if self.has_loop else f"deep.step({size})"

    @property
    def text_limit(self) -> int:
        return min(self.limits.text, self.record_size)

    @property
    def element_limit(self) -> int:
        return min(self.limits.elements, self.record_size)

    @property
    def groups(self) -> int:
        """Groups or buckets of a map that are taken: of eight slots, half or more of which are in use."""
        return max(1, -(-self.element_limit // 4))


def field(name: str) -> int:
    """Offset of a header field in the record."""
    fields = EVENT.fields
    assert fields is not None
    return int(fields[name][1])


def set_flag(asm: Assembler, flag: int) -> None:
    """Of the event whose frame is R7. Loses R1."""
    asm.load(R1, R7, field("flags"), 1)
    asm.or_(R1, flag)
    asm.store(R7, field("flags"), R1, 1)


def row(asm: Assembler, table: str, absent: str) -> None:
    """R0 = the element of an array whose number is the u32 in R1. Loses R1 to R5 and 8 bytes of stack."""
    asm.store(R10, -8, R1, 4)
    asm.ld_map(R1, table)
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.call(Helper.MAP_LOOKUP)
    asm.jeq(R0, 0, absent)
