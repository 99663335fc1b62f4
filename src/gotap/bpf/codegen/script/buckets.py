"""Buckets of histograms: what ir.Linear and ir.LogLinear are in BPF."""

from __future__ import annotations

from gotap.bpf.asm import Assembler
from gotap.bpf.isa import R0, R1, R2, R3, R4, R5
from gotap.probe import ir


def log2(asm: Assembler) -> None:
    """R0 = number of its highest bit, 0 for 0 and 1: halves the word's width six times. Loses R1, R2."""
    asm.mov(R2, R0)
    asm.mov(R0, 0)
    for shift in (32, 16, 8, 4, 2, 1):
        low = asm.new_label("low")
        asm.mov(R1, R2)
        asm.rsh(R1, shift)
        asm.jeq(R1, 0, low)
        asm.mov(R2, R1)
        asm.add(R0, shift)
        asm.label(low)


def linear(asm: Assembler, word: ir.Linear) -> None:
    """R0 = its bucket: one below `low`, one for each `step`, one from `high` on. Loses R1."""
    below, above, done = asm.new_label("below"), asm.new_label("above"), asm.new_label("linear")
    asm.constant(R1, word.low)
    asm.jslt(R0, R1, below)
    asm.constant(R1, word.high)
    asm.jsge(R0, R1, above)
    asm.constant(R1, word.low)
    asm.sub(R0, R1)
    asm.constant(R1, word.step)
    asm.div(R0, R1)
    asm.add(R0, 1)
    asm.jump(done)
    asm.label(above)
    asm.constant(R0, linear_buckets(word.low, word.high, word.step) + 1)
    asm.jump(done)
    asm.label(below)
    asm.mov(R0, 0)
    asm.label(done)


def linear_buckets(low: int, high: int, step: int) -> int:
    """How many buckets there are between `low` and `high`; the last may be narrower."""
    return -(-(high - low) // step)


def log_linear(asm: Assembler, word: ir.LogLinear) -> None:
    """R0 = its bucket. Loses R1 to R5."""
    bits = word.bits
    small = asm.new_label("small")
    if word.signed:
        asm.mov(R5, R0)
        asm.arsh(R5, 63)  # −1 if negative, else 0
        asm.xor(R0, R5)
    asm.jlt(R0, 1 << bits, small)
    asm.mov(R3, R0)
    log2(asm)
    asm.sub(R0, bits)
    asm.mov(R4, R0)
    asm.rsh(R3, R4)
    asm.and_(R3, (1 << bits) - 1)
    asm.add(R0, 1)
    asm.lsh(R0, bits)
    asm.or_(R0, R3)
    asm.label(small)
    if word.signed:
        asm.xor(R0, R5)
