"""One round of a deep capture, as a subprogram: takes the next pointer of the record and copies what it leads to.

R7 is the frame, R8 the pointer's row in the table of shapes, R6 the pointer's place in the record, R9 what it holds.
Everything else is in the frame's scratch (deep_memory): subprograms share 512 bytes of stack with their callers.
"""

from __future__ import annotations

from gotap.bpf.codegen.script import deep_memory as memory
from gotap.bpf.codegen.script.deep_copy import CopyPart
from gotap.bpf.codegen.script.deep_dynamic import DynamicPart
from gotap.bpf.codegen.script.deep_memory import row, set_flag
from gotap.bpf.codegen.script.deep_part import Part, at
from gotap.bpf.isa import R0, R1, R2, R3, R4, R6, R7, R8, R9
from gotap.probe.script.record import EventFlags
from gotap.probe.shapes_table import HEAD, POINTER, HeadFlags, What

#: Pointers to tables in a directory that are looked at: a map so large has more elements in one than are taken.
_TABLES = 4
_SLOTS = 8
#: runtime.hmap, Go 1.18–1.23, and its flag sameSizeGrow.
_MAP_FLAGS, _B, _BUCKETS, _OLD_BUCKETS = 8, 9, 16, 24
_SAME_SIZE = 8


class StepEmitter(Part):
    """Emits the round and what it calls."""

    def subprograms(self) -> None:
        self.step()
        CopyPart(self.asm, self.setting).copy()

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
        copying = CopyPart(self.asm, self.setting)
        copying.copy_values()
        copying.push()
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
        asm.load(R1, R0, at(HEAD, "flags"), 2)
        asm.and_(R1, HeadFlags.CUT)
        asm.jeq(R1, 0, complete)
        set_flag(asm, EventFlags.DEPTH_CUT)
        asm.label(complete)
        for place, column, size in (
            (memory.FIRST, "first", 4),
            (memory.STRIDE, "size", 4),
            (memory.COUNT, "count", 2),
        ):
            asm.load(R1, R0, at(HEAD, column), size)
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
        asm.load(R1, R8, at(POINTER, "offset"), 4)
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
        asm.load(R1, R8, at(POINTER, "what"), 1)
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
        dynamic = DynamicPart(self.asm, self.setting)
        dynamic.interfaces()
        dynamic.function()
        asm = self.asm
        asm.label("deep.directory")
        self.second(R2)
        asm.load(R1, R8, at(POINTER, "target"), 4)
        one = asm.new_label("one")
        asm.jeq(R2, 0, one)
        asm.load(R1, R8, at(POINTER, "extra"), 4)
        self.values(most=_TABLES)
        asm.label(one)
        asm.mov(R2, 1)
        self.values()
        asm.label("deep.groups")
        self.second(R2)
        asm.add(R2, 1)
        asm.load(R1, R8, at(POINTER, "target"), 4)
        self.values(most=self.setting.groups)
        asm.label("deep.buckets")
        self.buckets(old=False)
        asm.label("deep.old_buckets")
        self.buckets(old=True)
        asm.label("deep.slice")
        self.second(R2)
        asm.jsle(R2, 0, "deep.next")
        asm.load(R1, R8, at(POINTER, "target"), 4)
        self.values()
        asm.label("deep.pointer")
        asm.mov(R2, 1)
        asm.load(R1, R8, at(POINTER, "target"), 4)
        self.values()

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
        asm.load(R1, R8, at(POINTER, "target"), 4)
        self.put(memory.NEW_SHAPE, R1)
        asm.load(R1, R8, at(POINTER, "extra"), 4)
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
        asm.load(R1, R8, at(POINTER, "target"), 4)
        self.values(most=self.setting.groups)
