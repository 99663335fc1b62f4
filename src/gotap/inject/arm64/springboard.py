"""Springboards on arm64: a stub is a NOP that carries an ordinary uprobe, before the instruction that was displaced.

    nop | after | b resume

Linux emulates a NOP under a uprobe from 6.13 on ("arm64: insn: Simulate nop instruction for better uprobe
performance"), so that it traps once; the instruction behind a stack check, a store, is executed out of line, with a
second trap. By the measurements that came with that change (Kunpeng 916, 1.86 against 0.92 million a second) this
halves the cost. There is no way without a trap, as on x86-64; and RET was emulated before: at returns a springboard
gains nothing over a uprobe, and `worthwhile` says so.

The program sees the registers as at the site, all but the PC, which is the NOP's.
"""

from __future__ import annotations

from typing import NamedTuple

from gotap.image.code.arm64 import JumpSite
from gotap.image.code.arm64_instructions import NOP, Kind
from gotap.image.code.arm64_relocation import words_of
from gotap.inject.arm64.stub import after_code, largest_after

#: What the kernel emulates in its place (arm_probe_decode_insn, arch/arm64/kernel/probes/decode-insn.c). Not loads of
#: constants: since 6.12 it refuses uprobes there ("arm64: probes: Remove broken LDR (literal) uprobe support").
_EMULATED = frozenset(
    (
        Kind.CONDITION, Kind.COMPARE, Kind.TEST, Kind.ADDRESS, Kind.PAGE, Kind.JUMP, Kind.CALL, Kind.JUMP_REGISTER,
        Kind.CALL_REGISTER, Kind.RETURN,
    )
)  # fmt: skip


class Springboard(NamedTuple):
    """A stub's code for the address it was made for, and where in it the nop is."""

    code: bytes
    nop: int


def worthwhile(site: JumpSite) -> bool:
    """Whether a uprobe on a NOP is cheaper than one on the site's own instruction."""
    return all(one.kind not in _EMULATED and one.word != NOP for one in site.after.instructions)


def largest(site: JumpSite) -> int:
    """A bound for the bytes of the stub, wherever it is."""
    return 4 + largest_after(site)


def springboard(site: JumpSite, at: int, bias: int = 0) -> Springboard:
    """The stub for address `at` of the process; `bias` is what the process adds to the image's addresses.

    Raises OutOfReach.
    """
    code = site.before.encode(at - bias)
    nop = len(code)
    code += words_of([NOP])
    return Springboard(code + after_code(site, at + len(code), bias), nop)
