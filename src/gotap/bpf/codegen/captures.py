"""Captures: what a probe reads goes into the columns and the heap of the open operation's row."""

from __future__ import annotations

from collections.abc import Callable

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.gomaps import MapEmitter
from gotap.bpf.codegen.planner import Block, Chain, Lookup, Plan
from gotap.bpf.codegen.spill import SpillEmitter
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.isa import R0, R1, R2, R3, R7, R8, R9, R10, Helper
from gotap.probe import ir
from gotap.probe.record import ColumnKind

#: Wrappers followed at most from an error to its cause.
_LONGEST_CHAIN = 6


class CaptureEmitter:
    """Emits the captures of one program: R7 is the row of ROW_KEY, R8 and R9 are lost.

    `heap_full` emits what tells of a text that found no room.
    """

    def __init__(
        self, asm: Assembler, words: WordEmitter, maps: MapEmitter, plan: Plan, heap_full: Callable[[], None]
    ) -> None:
        self.asm = asm
        self.words = words
        self.maps = maps
        self.plan = plan
        self.spill = SpillEmitter(asm, heap_full)

    def capture_all(self, captures: tuple[ir.Capture, ...], used: int | None, *, shared: bool = False) -> None:
        """Prefetches, then fills columns. `used`: bytes of the row in use, None: as the row's header says.

        `shared`: another goroutine may be at work on the row, so nothing of it is written back that was read before.
        """
        if used is not None:
            self.asm.store(R7, frame.field("used"), used, 2)
        self.prefetch_all()
        for capture in captures:
            self.capture(capture, shared)

    def prefetch_all(self) -> None:
        for step in self.plan.steps:
            self.prefetch(step)

    def prefetch(self, step: Block | Lookup | Chain) -> None:
        asm = self.asm
        done = asm.new_label("prefetched")
        match step:
            case Block():
                asm.store(R7, step.valid, 0)
                self.words.word(step.base, done)
                asm.jeq(R0, 0, done)
                asm.mov(R3, R0)
                if step.start:
                    asm.add(R3, step.start)
                asm.mov(R1, R10 if step.on_stack else R7)
                asm.add(R1, step.place)
                asm.mov(R2, step.size)
                asm.call(Helper.PROBE_READ_USER)
                asm.jne(R0, 0, done)
                asm.store(R7, step.valid, 1)
            case Lookup():
                for _, place, element in step.places:
                    asm.store(R7, place, 0)
                    if element is not None:
                        asm.store(R7, element.valid, 0)
                self.words.word(step.map, done)
                self.maps.lookup(step, done)
            case Chain():
                self.unwrap(step, done)
        asm.label(done)

    def unwrap(self, chain: Chain, done: str) -> None:
        """Follows known wrappers: type and data words at the chain's place become those of the innermost error."""
        asm = self.asm
        asm.store(R7, chain.place, 0)
        asm.store(R7, chain.place + 8, 0)
        self.words.word(chain.unwrapped.data, done)
        asm.store(R7, chain.place + 8, R0)
        self.words.word(chain.unwrapped.type, done)
        asm.store(R7, chain.place, R0)
        if not chain.unwrapped.wrappers:
            return
        loop, follow = asm.new_label("error"), asm.new_label("follow")
        asm.mov(R8, 0)
        asm.label(loop)
        asm.load(R9, R7, chain.place)
        asm.load(R3, R7, chain.place + 8)
        for address, offset in chain.unwrapped.wrappers:
            other = asm.new_label("wrapper")
            asm.constant(R1, address + self.words.bias)
            asm.jne(R9, R1, other)
            if offset:
                asm.add(R3, offset)
            asm.jump(follow)
            asm.label(other)
        asm.jump(done)
        asm.label(follow)  # R3: address of the inner error, an interface
        base, pair = self.words.memory.base, self.words.memory.pair
        self.words.point(R1, pair)
        asm.mov(R2, 16)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, done)
        asm.load(R3, base, pair)
        asm.jeq(R3, 0, done)
        asm.add(R3, frame.ITAB_TYPE)
        self.words.read(8, done)
        asm.store(R7, chain.place, R0)
        asm.load(R1, base, pair + 8)
        asm.store(R7, chain.place + 8, R1)
        asm.add(R8, 1)
        asm.jlt(R8, _LONGEST_CHAIN, loop)

    def capture(self, capture: ir.Capture, shared: bool) -> None:
        asm, column = self.asm, capture.column
        done = asm.new_label("captured")
        for alternative in capture.alternatives:
            other = asm.new_label("other")
            for condition in alternative.conditions:
                self.words.require(condition, other, other)
            if isinstance(alternative.value, ir.AnyText):
                self.text(alternative.value, column.limit, column.offset, other)
            else:
                self.words.word(alternative.value, other)
                if column.kind is ColumnKind.TYPE:
                    self.unrelocate(other)
                asm.store(R7, column.offset, R0)
            asm.constant(R2, 1 << column.index)
            if shared:
                asm.atomic_or(R7, frame.field("present"), R2)
            else:
                asm.load(R1, R7, frame.field("present"))
                asm.or_(R1, R2)
                asm.store(R7, frame.field("present"), R1)
            if not asm.wanted(other):
                break  # what nothing leads to the verifier refuses
            asm.jump(done)
            asm.label(other)
        asm.label(done)

    def unrelocate(self, nil: str) -> None:
        asm = self.asm
        asm.jeq(R0, 0, nil)
        if self.words.bias:
            asm.constant(R1, self.words.bias)
            asm.sub(R0, R1)

    def text(self, text: ir.AnyText, limit: int, offset: int, fail: str) -> None:
        """Copies the text into the heap and describes it in the 8 bytes at `offset` (record.TEXT)."""
        assert isinstance(text, ir.Text), "operations capture Go's texts only"
        asm = self.asm
        fits, here, read = asm.new_label("fits"), asm.new_label("here"), asm.new_label("read")
        described = asm.new_label("described")
        with self.words.temporary() as length:
            self.words.word(text.length, fail)
            self.words.keep(length, R0)
            self.words.word(text.pointer, fail)
            asm.mov(R3, R0)
            self.words.recall(R9, length)
            asm.jle(R9, limit, fits)
            asm.mov(R9, limit)
            asm.label(fits)
            asm.load(R8, R7, frame.field("used"), 2)  # of a row the verifier knows nothing: paths look alike to it
            asm.jeq(R9, 0, described)
            asm.mov(R1, R8)
            asm.add(R1, R9)
            asm.jle(R1, frame.FIRST_PART, here)
            self.spill.room(limit, fail)
            asm.jump(read)
            asm.label(here)
            # It is not, nor is the text longer, but the verifier does not know.
            asm.jgt(R8, frame.FIRST_PART, fail)
            if limit > frame.SCRATCH_SIZE:
                asm.jgt(R9, frame.FIRST_PART, fail)
            asm.mov(R1, R7)
            asm.label(read)
            asm.add(R1, R8)
            asm.mov(R2, R9)
            asm.call(Helper.PROBE_READ_USER)
            asm.jne(R0, 0, fail)
            asm.label(described)
            asm.store(R7, offset, R8, 2)
            asm.store(R7, offset + 2, R9, 2)
            self.words.recall(R1, length)
            asm.store(R7, offset + 4, R1, 4)
            asm.add(R8, R9)
            asm.store(R7, frame.field("used"), R8, 2)
