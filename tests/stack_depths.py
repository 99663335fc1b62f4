"""How much stack a program takes at most, with all that it calls, by kernels' oldest and widest rule."""

from __future__ import annotations

import bisect

from gotap.bpf import isa
from gotap.bpf.code import Code
from gotap.bpf.isa import Class, Jump

_ROUNDED = 32  # check_max_stack_depth before Linux 6.8


def deepest(code: Code) -> int:
    """Bytes; offsets are taken from what is read and written by R10, and from copies of it that are added to."""
    starts = [0, *(start for start, _ in code.subprograms)]
    own = dict.fromkeys(starts, 1)
    calls: dict[int, set[int]] = {start: set() for start in starts}
    for index, one in enumerate(code.instructions):
        start = starts[bisect.bisect_right(starts, index) - 1]
        if (one.opcode == Class.JMP | Jump.CALL and one.src == isa.PSEUDO_CALL) or (
            one.opcode == isa.LD_IMM64 and one.src == isa.PSEUDO_FUNC
        ):
            calls[start].add(index + 1 + one.imm)
        own[start] = max(own[start], -_offset(code, index))

    def depth(start: int) -> int:
        below = max((depth(callee) for callee in calls[start]), default=0)
        return -(-own[start] // _ROUNDED) * _ROUNDED + below

    return depth(0)


def _offset(code: Code, index: int) -> int:
    one, before = code.instructions[index], code.instructions[index - 1] if index else None
    group = one.opcode & 7
    if group == Class.LDX and one.src == 10:
        return one.offset
    if group in (Class.ST, Class.STX) and one.dst == 10:
        return one.offset
    moved = before is not None and before.opcode == Class.ALU64 | 0xB0 | isa.REG and before.src == 10
    if moved and before is not None and one.opcode == Class.ALU64 and one.dst == before.dst:
        return isa.signed32(one.imm)
    return 0
