"""Captures of scripts: columns and texts go into the frame's record."""

from __future__ import annotations

from collections.abc import Callable

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen.captures import CaptureEmitter
from gotap.bpf.codegen.gomaps import MapEmitter
from gotap.bpf.codegen.planner import Plan
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.script_words import ScriptWords
from gotap.bpf.codegen.script.stacks import StackEmitter
from gotap.bpf.isa import R0, R1, R2, R3, R7, R8, R9, Helper, Reg
from gotap.probe import ir
from gotap.probe.record import Column
from gotap.probe.script.routine import CaptureStack

_USED = script_frame.field("used")


class ScriptCaptures(CaptureEmitter):
    """R7 is the frame; R8 and R9 are lost. `record_size`: bytes that the record may take."""

    def __init__(
        self,
        asm: Assembler,
        words: ScriptWords,
        maps: MapEmitter,
        plan: Plan,
        heap_full: Callable[[], None],
        stacks: StackEmitter,
        record_size: int,
    ) -> None:
        super().__init__(asm, words, maps, plan, heap_full)
        self.script_words = words
        self.heap_full = heap_full
        self.stacks = stacks
        self.record_size = record_size

    def text(self, text: ir.AnyText, limit: int, offset: int, fail: str) -> None:
        """Copies the text into the heap and describes it in the 8 bytes at `offset` (record.TEXT)."""
        asm, limit = self.asm, min(limit, script_frame.FRAME_TAIL)
        if isinstance(text, ir.KeptText):
            asm.load(R0, R7, script_frame.field("present"))
            self.words.test_bit(text.column.index, fail)
            asm.load(R0, R7, text.column.offset)
            asm.store(R7, offset, R0)
            return
        fits, described = asm.new_label("fits"), asm.new_label("described")
        with self.words.temporary() as length:
            if isinstance(text, ir.Text):
                self.words.word(text.length, fail)
                self.words.keep(length, R0)
                self.words.word(text.pointer, fail)
                asm.mov(R3, R0)
                self.words.recall(R9, length)
            else:
                limit = min(limit, self.script_words.text_limit(text))
                self.script_words.text(text, script_frame.TEXT_A, -(-limit // 8) * 8, fail)
                asm.load(R9, R7, script_frame.TEXT_A)
                self.words.keep(length, R9)
                asm.mov(R3, R7)
                asm.add(R3, script_frame.TEXT_A + 8)
            asm.jle(R9, limit, fits)
            asm.mov(R9, limit)
            asm.label(fits)
            asm.load(R8, R7, _USED, 2)
            asm.jeq(R9, 0, described)
            self.room(R9, fail)
            asm.mov(R1, R7)
            asm.add(R1, R8)
            asm.mov(R2, R9)
            asm.call(Helper.PROBE_READ_USER if isinstance(text, ir.Text) else Helper.PROBE_READ_KERNEL)
            asm.jne(R0, 0, fail)
            asm.label(described)
            asm.store(R7, offset, R8, 2)
            asm.store(R7, offset + 2, R9, 2)
            self.words.recall(R1, length)
            asm.store(R7, offset + 4, R1, 4)
            asm.add(R8, R9)
            asm.store(R7, _USED, R8, 2)

    def room(self, size: Reg | int, fail: str) -> None:
        """R8 = where `size` bytes more go, within the record; without room it is told, and jumps to `fail`. Keeps R3.

        The verifier takes the one thing from it that it can: R8 is within the record. What is read there may be as long
        as the room behind records.
        """
        asm = self.asm
        full, there = asm.new_label("full"), asm.new_label("room")
        asm.jgt(R8, self.record_size, full)
        asm.mov(R1, R8)
        asm.add(R1, size)
        asm.jle(R1, self.record_size, there)
        asm.label(full)
        self.heap_full()
        asm.jump(fail)
        asm.label(there)

    def stack(self, capture: CaptureStack, fail: str) -> None:
        """The addresses into the heap, as a column like a text's."""
        asm, column, frames = self.asm, capture.column, capture.stack.frames
        asm.load(R8, R7, _USED, 2)
        asm.add(R8, 7)  # whole words
        asm.and_(R8, 0xFFF8)
        asm.store(R7, _USED, R8, 2)
        self.room(8 * frames, fail)

        def address(register: Reg) -> None:
            beyond = asm.new_label("within")
            asm.load(register, R7, _USED, 2)
            asm.jle(register, self.record_size, beyond)  # it is, but the verifier does not know
            asm.mov(register, 0)
            asm.label(beyond)
            asm.add(register, R7)

        self.stacks.capture(frames, address, fail)
        asm.load(R8, R7, _USED, 2)
        asm.mov(R9, R0)
        asm.lsh(R9, 3)
        asm.store(R7, column.offset, R8, 2)
        asm.store(R7, column.offset + 2, R9, 2)
        asm.store(R7, column.offset + 4, R9, 4)
        asm.add(R8, R9)
        asm.store(R7, _USED, R8, 2)
        self.present(column)

    def present(self, column: Column) -> None:
        asm = self.asm
        asm.constant(R2, 1 << column.index)
        asm.load(R1, R7, script_frame.field("present"))
        asm.or_(R1, R2)
        asm.store(R7, script_frame.field("present"), R1)
