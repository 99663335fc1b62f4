"""One round of a deep capture, as a subprogram: takes the next pointer of the record and copies what it leads to.

R7 is the frame, R8 the pointer's row in the table of shapes, R6 the pointer's place in the record, R9 what it holds.
Everything else is in the frame's scratch (deep_memory): subprograms share 512 bytes of stack with their callers.
"""

from __future__ import annotations

import numpy as np

from gotap.kernel.asm import Assembler
from gotap.kernel.codegen import deep_memory as memory
from gotap.kernel.codegen.deep_memory import DeepSetting, field, row, set_flag
from gotap.kernel.isa import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, Helper, Reg
from gotap.probe.script.record import EventFlags
from gotap.probe.shapes_table import GUESSED, HEAD, POINTER, HeadFlags, PointerFlags, What

_COPY = "deep.copy"
_PAGE = 4096
#: Pointers to tables in a directory that are looked at: a map so large has more elements in one than are taken.
_TABLES = 4
#: Offset of the dynamic type's address in an itab (runtime.itab; internal/abi.ITab, Go 1.18–1.27), and what is taken.
_ITAB_TYPE, _ITAB = 8, 16
_SLOTS = 8
#: runtime.hmap, Go 1.18–1.23, and its flag sameSizeGrow.
_MAP_FLAGS, _B, _BUCKETS, _OLD_BUCKETS = 8, 9, 16, 24
_SAME_SIZE = 8
#: How far apart two pointers to the heap may be. It begins at 2^39.6 or, from Go 1.26 on, anywhere (runtime/malloc.go,
#: mallocinit), so that numbers are no pointers.
_HEAP = 1 << 37
_HASH = 0x9E3779B97F4A7C15


def _at(table: np.dtype[np.void], name: str) -> int:
    """Offset of a column in a row."""
    assert table.fields is not None
    return int(table.fields[name][1])


class StepEmitter:
    """Emits the round and what it calls."""

    def __init__(self, asm: Assembler, setting: DeepSetting) -> None:
        self.asm = asm
        self.setting = setting
        self.scratch = setting.scratch

    def get(self, register: Reg, place: int) -> None:
        self.asm.load(register, R7, self.scratch + place)

    def put(self, place: int, value: Reg | int) -> None:
        self.asm.store(R7, self.scratch + place, value)

    def subprograms(self) -> None:
        self.step()
        self.copy()

    def step(self) -> None:
        """Callback (R1 index, R2 address of the frame's address), else function (R1 the frame from its lowest part on).

        R0 = 1: nothing is left.
        """
        asm = self.asm
        asm.label(self.setting.step)
        if self.setting.has_loop:
            asm.load(R7, R2, 0)
        else:
            asm.jeq(R1, 0, "deep.end")
            asm.mov(R7, R1)
            asm.sub(R7, self.setting.lowest)
        self.next_pointer()
        self.dispatch()
        self.kinds()
        self.copy_values()
        self.push()
        asm.label("deep.cut")
        set_flag(asm, EventFlags.DEPTH_CUT)
        asm.label("deep.next")
        asm.mov(R0, 0)
        asm.exit_()
        asm.label("deep.end")
        asm.mov(R0, 1)
        asm.exit_()

    # -- which pointer ------------------------------------------------------------------------------------------

    def next_pointer(self) -> None:
        """The next pointer of the current element, else of the next element, else of the next piece."""
        asm = self.asm
        pop = asm.new_label("pop")
        self.get(R1, memory.NEXT)
        self.get(R2, memory.COUNT)
        asm.jlt(R1, R2, "deep.row")
        self.get(R3, memory.LEFT)
        asm.jle(R3, 1, pop)
        asm.sub(R3, 1)
        self.put(memory.LEFT, R3)
        self.get(R3, memory.POSITION)
        self.get(R4, memory.STRIDE)
        asm.add(R3, R4)
        self.put(memory.POSITION, R3)
        asm.mov(R1, 0)
        asm.jump("deep.row")
        asm.label(pop)
        self.pop()
        asm.mov(R1, 0)
        asm.label("deep.row")
        self.get(R2, memory.FIRST)
        asm.mov(R3, R1)
        asm.add(R3, 1)
        self.put(memory.NEXT, R3)
        asm.add(R1, R2)
        row(asm, memory.SHAPE_POINTERS, "deep.next")
        asm.mov(R8, R0)
        self.load_word()

    def pop(self) -> None:
        """The next piece of the queue becomes the current one."""
        asm, queue = self.asm, self.scratch + memory.QUEUE
        self.get(R1, memory.HEAD)
        self.get(R2, memory.TAIL)
        asm.jeq(R1, R2, "deep.end")
        asm.mov(R3, R1)
        asm.add(R1, 1)
        self.put(memory.HEAD, R1)
        asm.and_(R3, memory.QUEUE_LENGTH - 1)
        asm.lsh(R3, 4)
        asm.add(R3, R7)
        for place, offset, size in (
            (memory.POSITION, memory.ENTRY_POSITION, 2),
            (memory.END, memory.ENTRY_END, 2),
            (memory.LEFT, memory.ENTRY_COUNT, 4),
            (memory.DEPTH, memory.ENTRY_DEPTH, 4),
        ):
            asm.load(R1, R3, queue + offset, size)
            self.put(place, R1)
        asm.load(R1, R3, queue + memory.ENTRY_SHAPE, 4)
        self.put(memory.COUNT, 0)
        row(asm, memory.SHAPES, "deep.next")
        complete = asm.new_label("complete")
        asm.load(R1, R0, _at(HEAD, "flags"), 2)
        asm.and_(R1, HeadFlags.CUT)
        asm.jeq(R1, 0, complete)
        set_flag(asm, EventFlags.DEPTH_CUT)
        asm.label(complete)
        for place, column, size in (
            (memory.FIRST, "first", 4),
            (memory.STRIDE, "size", 4),
            (memory.COUNT, "count", 2),
        ):
            asm.load(R1, R0, _at(HEAD, column), size)
            self.put(place, R1)
        self.put(memory.NEXT, 0)
        some = asm.new_label("some")
        asm.jne(R1, 0, some)
        self.put(memory.LEFT, 0)
        asm.jump("deep.next")
        asm.label(some)

    def load_word(self) -> None:
        """AT and R6 = the pointer's place, R9 = the word there; nothing to do when it lies behind what was taken."""
        asm = self.asm
        self.get(R9, memory.POSITION)
        asm.load(R1, R8, _at(POINTER, "offset"), 4)
        asm.add(R9, R1)
        self.put(memory.AT, R9)
        asm.mov(R1, R9)
        asm.add(R1, 8)
        self.get(R2, memory.END)
        asm.jgt(R1, R2, "deep.passed")
        asm.jlt(R9, 16, "deep.next")  # a map's words before it are looked at, too
        asm.jgt(R9, self.setting.record_size - 16, "deep.next")
        asm.mov(R6, R7)
        asm.add(R6, R9)
        asm.load(R9, R6, 0)

    # -- what it is ---------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        asm = self.asm
        asm.load(R1, R8, _at(POINTER, "what"), 1)
        asm.jeq(R1, What.INLINE, "deep.inline")
        asm.jeq(R9, 0, "deep.next")
        for what in What:
            if what is not What.INLINE:
                asm.jeq(R1, what, f"deep.{what.name.lower()}")
        asm.jump("deep.next")

    def kinds(self) -> None:
        """Each ends with R9 = address, LENGTH = how many values, R1 = their shape at deep.values, or goes elsewhere."""
        self.passed()
        self.inline()
        self.string()
        self.interfaces()
        self.function()
        asm = self.asm
        asm.label("deep.directory")
        self.second(R2)
        asm.load(R1, R8, _at(POINTER, "target"), 4)
        one = asm.new_label("one")
        asm.jeq(R2, 0, one)
        asm.load(R1, R8, _at(POINTER, "extra"), 4)
        self.values(most=_TABLES)
        asm.label(one)
        asm.mov(R2, 1)
        self.values()
        asm.label("deep.groups")
        self.second(R2)
        asm.add(R2, 1)
        asm.load(R1, R8, _at(POINTER, "target"), 4)
        self.values(most=self.setting.groups)
        asm.label("deep.buckets")
        self.buckets(old=False)
        asm.label("deep.old_buckets")
        self.buckets(old=True)
        asm.label("deep.slice")
        self.second(R2)
        asm.jsle(R2, 0, "deep.next")
        asm.load(R1, R8, _at(POINTER, "target"), 4)
        self.values()
        asm.label("deep.pointer")
        asm.mov(R2, 1)
        asm.load(R1, R8, _at(POINTER, "target"), 4)
        self.values()

    def second(self, register: Reg) -> None:
        """The word behind the pointer, if it was taken. Loses R1, R3."""
        asm = self.asm
        self.get(R1, memory.AT)
        asm.add(R1, 16)
        self.get(R3, memory.END)
        asm.jgt(R1, R3, "deep.next")
        asm.load(register, R6, 8)

    def values(self, most: int | None = None) -> None:
        """R2 values of shape R1, of which `most` are taken, are at R9."""
        self.put(memory.LENGTH, R2)
        self.put(memory.MOST, self.setting.element_limit if most is None else most)
        self.asm.jump("deep.values")

    def passed(self) -> None:
        """Elements from here on were not taken."""
        self.asm.label("deep.passed")
        self.put(memory.LEFT, 0)
        self.asm.jump("deep.next")

    def inline(self) -> None:
        """Elements within the piece are a piece of their own, already copied."""
        asm = self.asm
        few = asm.new_label("few")
        asm.label("deep.inline")
        self.get(R1, memory.AT)
        self.put(memory.NEW_POSITION, R1)
        self.get(R1, memory.END)
        self.put(memory.NEW_END, R1)
        self.get(R1, memory.DEPTH)
        self.put(memory.NEW_DEPTH, R1)
        asm.load(R1, R8, _at(POINTER, "target"), 4)
        self.put(memory.NEW_SHAPE, R1)
        asm.load(R1, R8, _at(POINTER, "extra"), 4)
        most = max(_SLOTS, self.setting.element_limit)
        asm.jle(R1, most, few)
        asm.mov(R1, most)
        asm.label(few)
        self.put(memory.NEW_COUNT, R1)
        asm.jump("deep.push")

    def string(self) -> None:
        asm = self.asm
        small, whole = asm.new_label("small"), asm.new_label("whole")
        asm.label("deep.string")
        self.second(R2)
        asm.jsle(R2, 0, "deep.next")
        asm.mov32(R1, -1)
        asm.jle(R2, R1, small)
        asm.mov(R2, R1)
        asm.label(small)
        self.put(memory.FULL, R2)
        asm.jle(R2, self.setting.text_limit, whole)
        asm.mov(R2, self.setting.text_limit)
        asm.label(whole)
        self.put(memory.BYTES, R2)
        self.put(memory.NEW_SHAPE, 0)
        asm.jump("deep.bytes")

    def buckets(self, *, old: bool) -> None:
        """hmap.B says how many there are: half as many old ones while the map grows, unless to its own size."""
        asm = self.asm
        before = _OLD_BUCKETS if old else _BUCKETS
        asm.load(R1, R6, _B - before, 1)
        asm.and_(R1, 31)
        if old:
            as_many = asm.new_label("many")
            asm.jeq(R1, 0, as_many)
            asm.load(R2, R6, _MAP_FLAGS - before, 1)
            asm.jset(R2, _SAME_SIZE, as_many)
            asm.sub(R1, 1)
            asm.label(as_many)
        asm.mov(R2, 1)
        asm.lsh(R2, R1)
        asm.load(R1, R8, _at(POINTER, "target"), 4)
        self.values(most=self.setting.groups)

    def function(self) -> None:
        """A function value and what it may have captured, as much as is likely: how long they are nobody tells. Those
        of the executable have captured nothing."""
        asm = self.asm
        taken = asm.new_label("taken")
        asm.label("deep.captured")
        self.near_holder()
        self.deeper("deep.cut")
        asm.jump(taken)
        asm.label("deep.func")
        self.skip_read_only("deep.next")
        self.get(R1, memory.DEPTH)
        self.put(memory.NEW_DEPTH, R1)
        asm.label(taken)
        asm.load(R1, R8, _at(POINTER, "target"), 4)
        self.put(memory.NEW_SHAPE, R1)
        self.put(memory.NEW_COUNT, 1)
        self.put(memory.BYTES, GUESSED)
        asm.mov32(R2, -1)
        self.put(memory.FULL, R2)
        asm.jump("deep.bytes")

    def near_holder(self) -> None:
        """Goes on when R9 may point to the heap: it is near its holder, whose address stands before the piece."""
        asm = self.asm
        self.get(R1, memory.POSITION)
        asm.jgt(R1, self.setting.record_size, "deep.next")  # it is not, but the verifier does not know
        asm.jlt(R1, memory.CHUNK_HEADER, "deep.next")
        asm.add(R1, R7)
        asm.load(R1, R1, memory.CHUNK_ADDRESS - memory.CHUNK_HEADER)
        asm.mov(R2, R9)
        asm.sub(R2, R1)
        asm.ld_imm64(R1, _HEAP)
        asm.add(R2, R1)
        asm.lsh(R1, 1)
        asm.jge(R2, R1, "deep.next")

    # -- interfaces ---------------------------------------------------------------------------------------------

    def interfaces(self) -> None:
        """R9 = the type word. What the data word is depends on the dynamic type."""
        asm = self.asm
        type_known, boxed = asm.new_label("type"), asm.new_label("boxed")
        asm.label("deep.iface")
        self.itab()
        asm.jump(type_known)
        asm.label("deep.eface")
        self.second(R2)
        asm.label(type_known)
        setting = self.setting
        if not setting.dynamic_count:
            asm.jump("deep.next")
            return
        asm.constant(R1, setting.dynamic_first + setting.bias)
        asm.sub(R9, R1)
        asm.jge(R9, 8 * setting.dynamic_count, "deep.next")
        asm.mov(R1, R9)
        asm.rsh(R1, 4)
        row(asm, memory.DESCRIPTORS, "deep.next")
        asm.rsh(R9, 1)
        asm.and_(R9, 4)
        asm.add(R0, R9)
        asm.load(R1, R0, 0, 4)
        asm.jeq(R1, 0, "deep.next")
        self.put(memory.NEW_SHAPE, R1)
        row(asm, memory.SHAPES, "deep.next")
        asm.load(R9, R6, 8)
        asm.jeq(R9, 0, "deep.next")
        asm.load(R1, R0, _at(HEAD, "flags"), 2)
        asm.jset(R1, HeadFlags.DIRECT, "deep.direct")
        asm.jump(boxed)
        self.direct()
        asm.label(boxed)
        self.deeper("deep.cut")
        self.put(memory.LENGTH, 1)
        asm.jump("deep.head")

    def itab(self) -> None:
        """The itab, of which the reader wants the type, is a piece of its own unless the executable has it."""
        asm = self.asm
        known, there = asm.new_label("known"), asm.new_label("there")
        self.second(R2)
        asm.mov(R1, R10)
        asm.add(R1, -16)
        asm.mov(R2, 8)
        asm.mov(R3, R9)
        asm.add(R3, _ITAB_TYPE)
        asm.call(Helper.PROBE_READ_USER)
        asm.jeq(R0, 0, there)
        asm.store(R10, -16, 0)
        asm.label(there)
        self.skip_read_only(known)
        asm.mov(R1, R7)
        asm.mov(R2, R9)
        asm.mov(R3, _ITAB)
        asm.mov(R4, _ITAB)
        asm.call_subprogram(_COPY)
        asm.label(known)
        asm.load(R9, R10, -16)
        asm.jeq(R9, 0, "deep.next")

    def direct(self) -> None:
        """The data word is the value: a piece that stands where the interface does. The step to what it points to is
        the interface's."""
        asm = self.asm
        plain = asm.new_label("plain")
        asm.label("deep.direct")
        self.get(R1, memory.AT)
        asm.add(R1, 8)
        self.put(memory.NEW_POSITION, R1)
        asm.add(R1, 8)
        self.put(memory.NEW_END, R1)
        self.put(memory.NEW_COUNT, 1)
        self.get(R1, memory.DEPTH)
        asm.load(R2, R8, _at(POINTER, "flags"), 1)
        asm.and_(R2, PointerFlags.CHAIN)
        asm.jeq(R2, 0, plain)
        asm.jge(R1, memory.LONGEST_CHAIN * memory.CHAIN_STEP, "deep.cut")
        asm.add(R1, memory.CHAIN_STEP - 1)  # one step back, which following the data word makes good
        asm.label(plain)
        self.put(memory.NEW_DEPTH, R1)
        asm.jump("deep.push")

    # -- copying ------------------------------------------------------------------------------------------------

    def deeper(self, cut: str) -> None:
        """NEW_DEPTH = one step more, unless it is free; else goes to `cut`. Keeps R0 and R3 to R5."""
        asm = self.asm
        free = asm.new_label("free")
        self.get(R1, memory.DEPTH)
        asm.load(R2, R8, _at(POINTER, "flags"), 1)
        asm.jset(R2, PointerFlags.FREE, free)
        asm.mov(R2, R1)
        asm.and_(R2, memory.CHAIN_STEP - 1)
        asm.jgt(R2, min(self.setting.limits.depth, memory.DEEPEST), cut)
        asm.add(R1, 1)
        asm.label(free)
        self.put(memory.NEW_DEPTH, R1)

    def copy_values(self) -> None:
        """deep.values: LENGTH values of shape R1 at R9; deep.head: R0 is its row; deep.bytes: BYTES of FULL."""
        asm = self.asm
        asm.label("deep.values")
        self.put(memory.NEW_SHAPE, R1)
        row(asm, memory.SHAPES, "deep.next")
        self.steps()
        asm.label("deep.head")
        self.measure()
        asm.label("deep.bytes")
        scanned = asm.new_label("scanned")
        self.get(R1, memory.NEW_SHAPE)
        asm.jne(R1, 0, scanned)
        self.skip_read_only("deep.next")
        asm.label(scanned)
        asm.mov(R1, R7)
        asm.mov(R2, R9)
        self.get(R3, memory.BYTES)
        self.get(R4, memory.FULL)
        asm.call_subprogram(_COPY)
        asm.jeq(R0, 0, "deep.next")
        self.get(R1, memory.NEW_SHAPE)
        asm.jeq(R1, 0, "deep.next")
        self.put(memory.NEW_POSITION, R0)
        self.get(R1, memory.BYTES)
        asm.add(R0, R1)
        self.put(memory.NEW_END, R0)
        asm.jump("deep.push")

    def steps(self) -> None:
        """Following a pointer is a step, but not to a slice's elements without pointers, which are like a text."""
        asm = self.asm
        counts, done = asm.new_label("counts"), asm.new_label("free")
        asm.load(R1, R8, _at(POINTER, "what"), 1)
        asm.jne(R1, What.SLICE, counts)
        asm.load(R1, R0, _at(HEAD, "count"), 2)
        asm.jeq(R1, 0, done)
        asm.label(counts)
        self.deeper("deep.cut")
        asm.label(done)

    def measure(self) -> None:
        """BYTES and FULL of LENGTH values of the shape in R0; NEW_COUNT, and NEW_SHAPE 0 if it has no pointers.

        Values are taken as a whole, but for one that is larger than a chunk.
        """
        asm, setting = self.asm, self.setting
        several, known = asm.new_label("several"), asm.new_label("known")
        bytes_, scanned, fits = asm.new_label("bytes"), asm.new_label("scanned"), asm.new_label("fits")
        asm.load(R1, R0, _at(HEAD, "count"), 2)
        asm.jne(R1, 0, scanned)
        self.put(memory.NEW_SHAPE, 0)
        asm.label(scanned)
        asm.load(R4, R0, _at(HEAD, "size"), 4)
        asm.jeq(R4, 0, "deep.next")
        self.get(R1, memory.LENGTH)
        asm.mov32(R3, -1)
        asm.jne(R1, 1, several)
        self.put(memory.FULL, R4)
        asm.load(R2, R0, _at(HEAD, "kept"), 4)
        asm.jump(known)
        asm.label(several)
        asm.jgt(R1, R3, bytes_)
        asm.mov(R2, R1)
        asm.mul(R2, R4)
        asm.jgt(R2, R3, bytes_)
        asm.mov(R3, R2)
        asm.label(bytes_)
        self.put(memory.FULL, R3)
        self.limit_elements()
        asm.mov(R2, R1)
        asm.mul(R2, R4)
        asm.label(known)
        asm.jeq(R4, 1, fits)
        asm.jle(R2, setting.chunk_limit, fits)
        asm.mov(R1, setting.chunk_limit)
        asm.div(R1, R4)
        asm.mov(R2, R1)
        asm.mul(R2, R4)
        asm.jne(R1, 0, fits)
        asm.mov(R1, 1)
        asm.mov(R2, setting.chunk_limit)
        asm.label(fits)
        self.put(memory.NEW_COUNT, R1)
        self.put(memory.BYTES, R2)

    def limit_elements(self) -> None:
        """R1 elements of R4 bytes: bytes are limited as texts are."""
        asm = self.asm
        text, limited = asm.new_label("text"), asm.new_label("limited")
        asm.jeq(R4, 1, text)
        self.get(R3, memory.MOST)
        asm.jle(R1, R3, limited)
        asm.mov(R1, R3)
        asm.jump(limited)
        asm.label(text)
        asm.jle(R1, self.setting.text_limit, limited)
        asm.mov(R1, self.setting.text_limit)
        asm.label(limited)

    def skip_read_only(self, there: str) -> None:
        """Goes there when R9 lies in memory that the executable tells of. Loses R1, R2."""
        asm = self.asm
        for start, end in self.setting.read_only:
            asm.mov(R1, R9)
            asm.constant(R2, start + self.setting.bias)
            asm.sub(R1, R2)
            asm.constant(R2, end - start)
            asm.jlt(R1, R2, there)

    def push(self) -> None:
        """Notes the new piece in the queue."""
        asm, queue = self.asm, self.scratch + memory.QUEUE
        full = asm.new_label("full")
        asm.label("deep.push")
        self.get(R1, memory.TAIL)
        self.get(R2, memory.HEAD)
        asm.mov(R3, R1)
        asm.sub(R3, R2)
        asm.jge(R3, memory.QUEUE_LENGTH, full)
        asm.mov(R3, R1)
        asm.add(R1, 1)
        self.put(memory.TAIL, R1)
        asm.and_(R3, memory.QUEUE_LENGTH - 1)
        asm.lsh(R3, 4)
        asm.add(R3, R7)
        for place, offset, size in (
            (memory.NEW_POSITION, memory.ENTRY_POSITION, 2),
            (memory.NEW_END, memory.ENTRY_END, 2),
            (memory.NEW_COUNT, memory.ENTRY_COUNT, 4),
            (memory.NEW_SHAPE, memory.ENTRY_SHAPE, 4),
            (memory.NEW_DEPTH, memory.ENTRY_DEPTH, 4),
        ):
            self.get(R1, place)
            asm.store(R3, queue + offset, R1, size)
        asm.jump("deep.next")
        asm.label(full)
        set_flag(asm, EventFlags.HEAP_FULL)
        asm.jump("deep.next")

    def copy(self) -> None:
        """Subprogram (R1 frame, R2 address, R3 bytes, R4 bytes that there would be) → R0 where in the record they are.

        0: nothing was copied, or it is there already.
        """
        asm, scratch, size = self.asm, self.scratch, self.setting.record_size
        none, full = asm.new_label("none"), asm.new_label("full")
        asm.label(_COPY)
        asm.mov(R7, R1)
        asm.mov(R6, R2)
        asm.mov(R8, R3)
        asm.jeq(R8, 0, none)
        self.remember(none, scratch)
        asm.load(R9, R7, field("used"), 2)
        asm.mov(R1, R9)
        asm.add(R1, R8)
        asm.jgt(R1, size - memory.CHUNK_HEADER, full)
        asm.jgt(R9, size - memory.CHUNK_HEADER, none)
        asm.mov(R1, R7)
        asm.add(R1, R9)
        asm.store(R1, memory.CHUNK_ADDRESS, R6)
        asm.store(R1, memory.CHUNK_FULL, R4, 4)
        self.put(memory.CHUNK_AT, R9)
        asm.add(R9, memory.CHUNK_HEADER)
        done = asm.new_label("copied")
        self.read(done)
        asm.label(done)
        self.get(R8, memory.CHUNK_AT)
        asm.jgt(R8, size - memory.CHUNK_HEADER, none)
        asm.mov(R1, R7)
        asm.add(R1, R8)
        asm.add(R8, memory.CHUNK_HEADER)
        asm.mov(R2, R9)
        asm.sub(R2, R8)
        asm.store(R1, memory.CHUNK_LENGTH, R2, 4)
        asm.add(R9, 7)
        asm.and_(R9, -8)
        asm.store(R7, field("used"), R9, 2)
        asm.jeq(R2, 0, none)
        asm.mov(R0, R8)
        asm.exit_()
        asm.label(full)
        set_flag(asm, EventFlags.HEAP_FULL)
        asm.label(none)
        asm.mov(R0, 0)
        asm.exit_()

    def read(self, done: str) -> None:
        """R8 bytes at R6 go to R9 in the record, which moves on, as far as they can be read.

        To the verifier a read may begin anywhere in the record, so it is no longer than what is behind the record.
        Where it fails, what lies on the first page may be in memory.
        """
        asm, setting = self.asm, self.setting
        failed = asm.new_label("failed")
        for _ in range(-(-max(setting.text_limit, setting.chunk_limit) // setting.tail)):
            small = asm.new_label("small")
            asm.jgt(R9, setting.record_size, done)  # it is not, but the verifier does not know
            asm.mov(R2, R8)
            asm.jle(R2, setting.tail, small)
            asm.mov(R2, setting.tail)
            asm.label(small)
            self.put(memory.PART, R2)
            asm.mov(R1, R7)
            asm.add(R1, R9)
            asm.mov(R3, R6)
            asm.call(Helper.PROBE_READ_USER)
            asm.jne(R0, 0, failed)
            self.get(R2, memory.PART)
            asm.add(R9, R2)
            asm.add(R6, R2)
            asm.sub(R8, R2)
            asm.jeq(R8, 0, done)
        asm.jump(done)
        asm.label(failed)
        asm.mov(R1, R6)
        asm.and_(R1, _PAGE - 1)
        asm.mov(R8, _PAGE)
        asm.sub(R8, R1)
        self.get(R1, memory.PART)
        asm.jge(R8, R1, done)
        asm.jgt(R8, setting.tail, done)
        asm.mov(R1, R7)
        asm.add(R1, R9)
        asm.mov(R2, R8)
        asm.mov(R3, R6)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, done)
        asm.add(R9, R8)

    def remember(self, known: str, scratch: int) -> None:
        """Goes on unless the same bytes were taken a short while ago, by a hash of their address. Keeps R4."""
        asm = self.asm
        asm.mov(R1, R4)
        asm.lsh(R1, 48)
        asm.xor(R1, R6)
        asm.ld_imm64(R2, _HASH)
        asm.mul(R1, R2)
        asm.mov(R2, R1)
        asm.rsh(R2, 64 - memory.SEEN_BITS)
        asm.lsh(R2, 3)
        asm.add(R2, R7)
        asm.rsh(R1, 16)
        asm.mov32(R1, R1)
        asm.load(R3, R2, scratch + memory.SEEN, 4)
        asm.jeq(R3, R1, known)
        asm.load(R5, R2, scratch + memory.SEEN + 4, 4)
        asm.jeq(R5, R1, known)
        asm.store(R2, scratch + memory.SEEN + 4, R3, 4)
        asm.store(R2, scratch + memory.SEEN, R1, 4)
