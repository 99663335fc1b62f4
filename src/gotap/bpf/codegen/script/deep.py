"""Deep captures: a value's own bytes, then what its pointers lead to, breadth first, as chunks of the record.

The program puts the values' own bytes into the heap, and a note of each into a queue in the frame's scratch. A callback
of bpf_loop (deep_steps) then takes one pointer at each of its rounds: its row in the table of shapes says what it leads
to. That is copied behind the record's end, and noted in the queue if it has pointers itself. So the rounds are counted,
and neither deep nor wide nor cyclic values cost more than the limits say.
"""

from __future__ import annotations

from collections.abc import Sequence

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen.script import deep_memory as memory
from gotap.bpf.codegen.script.deep_memory import DeepSetting, field, set_flag
from gotap.bpf.codegen.script.deep_steps import StepEmitter
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.isa import R0, R1, R2, R3, R4, R7, R8, R9, R10, Helper, Reg
from gotap.probe.script.record import EventFlags
from gotap.probe.script.routine import CaptureValue

__all__ = ["DeepEmitter", "DeepSetting"]

#: Rounds of the walk: pointers looked at, with those that are nil. Without bpf_loop the verifier goes round as well.
ROUNDS = 4096
ROUNDS_WITHOUT_LOOP = 512


class DeepEmitter:
    """Emits the deep captures of one program; `subprograms` places what they call behind the program.

    R6 and R7 (the frame) are kept, R8 and R9 are lost. Memory that cannot be read, what was cut and what found no room
    shows in the record (see probe.script.record).
    """

    def __init__(self, asm: Assembler, words: WordEmitter, setting: DeepSetting) -> None:
        self.asm = asm
        self.words = words
        self.setting = setting
        self._used = False

    def open(self) -> None:
        """Before an event puts anything into the heap of a frame that may have chunks already: a call's end."""
        asm, size = self.asm, self.setting.record_size
        opened, room = asm.new_label("opened"), asm.new_label("room")
        asm.store(R7, self.setting.scratch + memory.RUN, 0)
        asm.load(R1, R7, field("chunks"), 2)
        asm.jeq(R1, 0, opened)
        asm.load(R8, R7, field("used"), 2)
        asm.jle(R8, size - memory.CHUNK_HEADER, room)
        set_flag(asm, EventFlags.HEAP_FULL)
        asm.store(R7, field("used"), size, 2)
        asm.jump(opened)
        asm.label(room)
        asm.store(R7, self.setting.scratch + memory.RUN, R8)
        asm.mov(R1, R7)
        asm.add(R1, R8)
        asm.store(R1, memory.CHUNK_ADDRESS, 0)
        asm.store(R1, memory.CHUNK_LENGTH, 0)
        asm.add(R8, memory.CHUNK_HEADER)
        asm.store(R7, field("used"), R8, 2)
        asm.label(opened)

    def close(self) -> None:
        """When all of an event but its chunks is in the heap. Where nothing was opened nothing happens."""
        asm, size = self.asm, self.setting.record_size
        closed = asm.new_label("closed")
        asm.load(R8, R7, self.setting.scratch + memory.RUN)
        asm.jeq(R8, 0, closed)
        asm.jgt(R8, size - memory.CHUNK_HEADER, closed)
        asm.load(R9, R7, field("used"), 2)
        asm.mov(R1, R7)
        asm.add(R1, R8)
        asm.mov(R2, R9)
        asm.sub(R2, R8)
        asm.sub(R2, memory.CHUNK_HEADER)
        asm.store(R1, memory.CHUNK_LENGTH, R2, 4)
        asm.store(R1, memory.CHUNK_FULL, R2, 4)
        self._align(R9)
        asm.store(R7, field("used"), R9, 2)
        asm.label(closed)

    def capture(self, values: Sequence[CaptureValue]) -> None:
        """All values of one event, the last that it puts into the heap. `open` comes before, `close` is done here."""
        asm, scratch = self.asm, self.setting.scratch
        following = any(value.shape for value in values)
        if following:
            for place in (memory.HEAD, memory.TAIL, memory.NEXT, memory.COUNT, memory.LEFT):
                asm.store(R7, scratch + place, 0)
            for place in range(memory.SEEN_LENGTH):
                asm.store(R7, scratch + memory.SEEN + 8 * place, 0)
        for value in values:
            self._root(value)
        self.close()
        if following:
            self._follow()

    def subprograms(self) -> None:
        """Called once, behind the program's own exit."""
        if not self._used:
            return
        StepEmitter(self.asm, self.setting).subprograms()

    # -- a value's own bytes ------------------------------------------------------------------------------------

    def _root(self, value: CaptureValue) -> None:
        asm, column = self.asm, value.column
        done, full = asm.new_label("captured"), asm.new_label("full")
        size = min(value.size, self.setting.chunk_limit)
        if value.address is None:
            self._from_parts(value, size, done, full)
        else:
            self._from_memory(value, size, done, full)
        asm.store(R7, column.offset, R8, 2)
        asm.store(R7, column.offset + 2, R9, 2)
        asm.constant(R1, min(value.size, 0xFFFFFFFF))
        asm.store(R7, column.offset + 4, R1, 4)
        asm.constant(R2, 1 << column.index)
        asm.load(R1, R7, field("present"))
        asm.or_(R1, R2)
        asm.store(R7, field("present"), R1)
        asm.jeq(R9, 0, done)
        if value.shape:
            self._enqueue(value.shape, size)
        asm.add(R8, R9)
        self._align(R8)
        asm.store(R7, field("used"), R8, 2)
        asm.jump(done)
        asm.label(full)
        set_flag(asm, EventFlags.HEAP_FULL)
        asm.label(done)

    def _place(self, size: int, full: str) -> None:
        """R8 = where the value's bytes go; they begin at a multiple of 8."""
        asm = self.asm
        asm.load(R8, R7, field("used"), 2)
        self._align(R8)
        asm.jgt(R8, self.setting.record_size - size, full)

    def _from_parts(self, value: CaptureValue, size: int, fail: str, full: str) -> None:
        """R8 = position, R9 = bytes, of a value whose words are at hand. Parts that are not given are zero."""
        asm = self.asm
        if size > self.setting.record_size:
            asm.jump(full)
        self._place(size, full)
        asm.mov(R9, R7)
        asm.add(R9, R8)
        if sum(part for _, part, _ in value.parts) < size:
            for offset in range(0, size, 8):
                asm.store(R9, offset, 0)
        for offset, part, word in value.parts:
            self.words.word(word, fail)
            self._place(size, full)
            asm.mov(R9, R7)
            asm.add(R9, R8)
            asm.store(R9, offset, R0, part)
        self._place(size, full)
        asm.mov(R9, size)

    def _from_memory(self, value: CaptureValue, size: int, fail: str, full: str) -> None:
        asm = self.asm
        read = asm.new_label("read")
        assert value.address is not None
        self.words.word(value.address, fail)
        asm.jeq(R0, 0, fail)
        asm.mov(R3, R0)
        self._place(size, full)
        asm.mov(R9, size)
        if size:
            asm.mov(R1, R7)
            asm.add(R1, R8)
            asm.mov(R2, size)
            asm.call(Helper.PROBE_READ_USER)
            asm.jeq(R0, 0, read)
            asm.mov(R9, 0)
            asm.label(read)

    def _enqueue(self, shape: int, size: int) -> None:
        """R8 = position of the value; a queue that is full loses it."""
        asm, scratch = self.asm, self.setting.scratch
        full = asm.new_label("queued")
        asm.load(R1, R7, scratch + memory.TAIL)
        asm.jge(R1, memory.QUEUE_LENGTH, full)
        asm.mov(R2, R1)
        asm.add(R1, 1)
        asm.store(R7, scratch + memory.TAIL, R1)
        asm.lsh(R2, 4)
        asm.add(R2, R7)
        place = scratch + memory.QUEUE
        asm.store(R2, place + memory.ENTRY_POSITION, R8, 2)
        asm.mov(R1, R8)
        asm.add(R1, size)
        asm.store(R2, place + memory.ENTRY_END, R1, 2)
        asm.store(R2, place + memory.ENTRY_COUNT, 1, 4)
        asm.store(R2, place + memory.ENTRY_SHAPE, shape, 4)
        asm.store(R2, place + memory.ENTRY_DEPTH, memory.ROOT_DEPTH, 4)
        asm.label(full)

    def _align(self, register: Reg) -> None:
        self.asm.add(register, 7)
        self.asm.and_(register, -8)

    # -- what pointers lead to ----------------------------------------------------------------------------------

    def _follow(self) -> None:
        asm, setting = self.asm, self.setting
        self._used = True
        begun = asm.new_label("begun")
        asm.load(R8, R7, field("used"), 2)
        self._align(R8)
        asm.store(R7, field("used"), R8, 2)
        asm.load(R1, R7, field("chunks"), 2)
        asm.jne(R1, 0, begun)
        asm.store(R7, field("chunks"), R8, 2)
        asm.label(begun)
        if setting.has_loop:
            asm.store(R10, setting.slot, R7)
            asm.mov(R1, ROUNDS)
            asm.ld_func(R2, setting.step)
            asm.mov(R3, R10)
            asm.add(R3, setting.slot)
            asm.mov(R4, 0)
            asm.call(Helper.LOOP)
        else:
            self._go_round()
        self._tell_what_is_left()

    def _tell_what_is_left(self) -> None:
        """Rounds ran out before the queue was empty."""
        asm, scratch = self.asm, self.setting.scratch
        empty = asm.new_label("empty")
        asm.load(R1, R7, scratch + memory.HEAD)
        asm.load(R2, R7, scratch + memory.TAIL)
        asm.jeq(R1, R2, empty)
        set_flag(asm, EventFlags.DEPTH_CUT)
        asm.label(empty)

    def _go_round(self) -> None:
        """In place of bpf_loop."""
        asm, setting = self.asm, self.setting
        again, end = asm.new_label("again"), asm.new_label("end")
        asm.mov(R8, 0)
        asm.label(again)
        asm.mov(R1, R7)
        asm.add(R1, setting.lowest)
        asm.call_subprogram(setting.step)
        asm.jne(R0, 0, end)
        asm.add(R8, 1)
        asm.jlt(R8, ROUNDS_WITHOUT_LOOP, again)
        asm.label(end)
