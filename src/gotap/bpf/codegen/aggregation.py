"""Aggregation in the kernel: count, sum, least and greatest by key, in one per-CPU map for all aggregations.

Key: u32 process, u32 table, KEY_WORDS words. Value: u64 count, sum, complement of the minimum, maximum; the reader
adds up the CPUs' values. A program may be preempted by another one on its CPU, so every update is atomic.
"""

from __future__ import annotations

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.words import WordEmitter, pack_key
from gotap.bpf.isa import R0, R1, R2, R3, R4, R8, R9, R10, Helper, Reg
from gotap.probe import ir

KEY_WORDS = 4
KEY_SIZE = 8 + 8 * KEY_WORDS
COUNT, SUM, LEAST, MAXIMUM = 0, 8, 16, 24  # LEAST: greatest complement, since other CPUs' values begin as zeros
VALUE_SIZE = 32

#: Tries to replace an extreme that others replace meanwhile.
_TRIES = 4

#: Stack: the key, where other programs keep a loop's state; a fresh value where they keep an interface and a link.
_KEY = frame.LOOP
_FRESH = frame.LINK
assert _KEY + KEY_SIZE <= frame.LINK
assert _FRESH + VALUE_SIZE <= frame.READ


class AggregationEmitter:
    """Emits one aggregation; R7 is a row when the words need one."""

    def __init__(self, asm: Assembler, words: WordEmitter, target: int) -> None:
        self.asm = asm
        self.words = words
        self.target = target

    def aggregate(self, action: ir.Aggregate, done: str) -> None:
        asm = self.asm
        assert len(action.keys) <= KEY_WORDS, "an aggregation has four keys at most"
        for condition in action.when:
            self.words.require(condition, done, done)
        with self.words.temporary() as value:
            self.words.word(action.value, done)
            asm.store(R10, value, R0)
            for index in range(KEY_WORDS):
                if index < len(action.keys):
                    self.words.word(action.keys[index], done)
                    asm.store(R10, _KEY + 8 + 8 * index, R0)
                else:
                    asm.store(R10, _KEY + 8 + 8 * index, 0)
            asm.constant(R1, pack_key(self.target, action.table))
            asm.store(R10, _KEY, R1)
            self.entry(done)
            asm.mov(R9, R0)
            asm.load(R8, R10, value)
        asm.mov(R1, 1)
        asm.atomic_add(R9, COUNT, R1)
        if action.function == "sum":
            asm.atomic_add(R9, SUM, R8)
        elif action.function == "max":
            raise_to(asm, R9, MAXIMUM, R8)
        elif action.function == "min":
            asm.xor(R8, -1)
            raise_to(asm, R9, LEAST, R8)

    def entry(self, full: str) -> None:
        """R0 = the value of the key, made if there is none; jumps to `full` when there is no room."""
        asm = self.asm
        there = asm.new_label("there")
        self.lookup()
        asm.jne(R0, 0, there)
        for offset in (COUNT, SUM, LEAST, MAXIMUM):
            asm.store(R10, _FRESH + offset, 0)
        asm.ld_map(R1, frame.AGGREGATES)
        asm.mov(R2, R10)
        asm.add(R2, _KEY)
        asm.mov(R3, R10)
        asm.add(R3, _FRESH)
        asm.mov(R4, 1)  # BPF_NOEXIST: another task may have been quicker
        asm.call(Helper.MAP_UPDATE)
        self.lookup()
        asm.jeq(R0, 0, full)
        asm.label(there)

    def lookup(self) -> None:
        asm = self.asm
        asm.ld_map(R1, frame.AGGREGATES)
        asm.mov(R2, R10)
        asm.add(R2, _KEY)
        asm.call(Helper.MAP_LOOKUP)


def raise_to(asm: Assembler, base: Reg, offset: int, value: Reg) -> None:
    """The word at `base + offset` becomes `value` if that is more, unsigned. Loses R0, R1, R2."""
    done = asm.new_label("raised")
    for _ in range(_TRIES):
        asm.load(R0, base, offset)
        asm.jle(value, R0, done)
        asm.mov(R2, R0)
        asm.mov(R1, value)
        asm.atomic_cmpxchg(base, offset, R1)
        asm.jeq(R0, R2, done)
    asm.label(done)
