"""Which instructions the kernel's uprobes emulate, single-step, refuse, or get wrong.

Facts: arch/x86/kernel/uprobes.c, branch_setup_xol_ops and push_setup_xol_ops (unchanged in what they accept from
Linux 3.15 and 4.18 on), emulate_nop_insn (6.16), nop5 optimisation (6.18). Each form below was timed and its effect
checked on 6.18; tests/image/test_code_cost.py repeats that.

Two things the kernel gets wrong (seen on 6.18): it looks at the opcode byte alone, so
  - a VEX instruction whose opcode byte is that of a branch is "emulated" as that branch: VPOR (EB) as a jump,
    VPSUBSB (E8) as a call, VPSHUFD (70) as a conditional jump: the program computes something else;
  - `xchg %r8, %rax` (REX.B 90) is taken for a nop and never executed.
"""

from __future__ import annotations

from .model import Cost

_OPERAND_SIZE = 0x66
_PREFIXES = bytes((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, _OPERAND_SIZE, 0x67, 0xF0, 0xF2, 0xF3))
_REFUSED_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0xF0))  # is_prefix_bad: es, cs, ss, ds, lock
_VEX_EVEX = frozenset((0xC4, 0xC5, 0x62))

#: Opcodes that good_insns_64 lacks (int3, int, in, out, iret, hlt, cli …), and those invalid in 64-bit mode.
_REFUSED = frozenset(
    bytes.fromhex(
        "06 07 0e 16 17 1e 1f 27 2f 37 3f 60 61 6c 6d 6e 6f 82 9a cc cd ce cf d4 d5 d6 e4 e5 e6 e7 ea ec ed ee ef"
        "f0 f1 f4 fa fb"
    )
)
#: Second bytes after 0F that good_2byte_insns lacks in some kernel (syscall, ud2, prefetch, mov to cr …).
_REFUSED_0F = frozenset(
    (*range(0x10), 0x18, *range(0x24, 0x28), 0x30, *range(0x33, 0x40), 0x78, 0x79, 0xA6, 0xA7, 0xFF)
)

#: arch/x86/include/asm/nops.h, x86_nops[3..8] of 64-bit kernels; the assembler of Go pads with the same ones.
_LONG_NOPS = frozenset(
    bytes.fromhex(text)
    for text in ("0f1f00", "0f1f4000", "0f1f440000", "660f1f440000", "0f1f8000000000", "0f1f840000000000")
)
_NOP5 = bytes.fromhex("0f1f440000")
_PAGE = 4096


def cost_of(instruction: bytes, address: int = 0, *, long_nops: bool = True) -> Cost:
    """The cost of a uprobe on one instruction, given its bytes; `address` matters modulo the page size only.

    `long_nops`: the kernel emulates multi-byte nops (Linux ≥ 6.16). Without, they are single-stepped, and
    `66 90` is forbidden, since kernels before 6.2 refuse it.
    """
    if instruction in _LONG_NOPS:
        if not long_nops:
            return Cost.SINGLE_STEP
        crosses_page = address % _PAGE > _PAGE - len(_NOP5)
        return Cost.NOP5 if instruction == _NOP5 and not crosses_page else Cost.EMULATED
    return _cost_of_opcode(instruction, long_nops)


def _cost_of_opcode(instruction: bytes, long_nops: bool) -> Cost:
    at = len(instruction) - len(instruction.lstrip(_PREFIXES))
    prefixes = instruction[:at]
    rex = instruction[at] if at < len(instruction) and instruction[at] & 0xF0 == 0x40 else 0
    at += rex != 0
    if at >= len(instruction):  # nothing but prefixes: the end of damaged code
        return Cost.FORBIDDEN
    opcode, second = instruction[at], instruction[at + 1] if at + 1 < len(instruction) else 0
    if opcode in _VEX_EVEX or not _REFUSED_PREFIXES.isdisjoint(prefixes):
        return Cost.FORBIDDEN
    if opcode == 0x90:
        return _cost_of_nop(prefixes, rex, long_nops)
    if opcode in (0xE8, 0xE9, 0xEB) or opcode & 0xF0 == 0x70 or (opcode == 0x0F and second & 0xF0 == 0x80):
        return Cost.FORBIDDEN if prefixes or rex else Cost.EMULATED
    if opcode & 0xF8 == 0x50:
        return Cost.EMULATED if not prefixes and rex in (0, 0x41) else Cost.SINGLE_STEP
    if opcode in _REFUSED or (opcode == 0x0F and second in _REFUSED_0F):
        return Cost.FORBIDDEN
    return Cost.SINGLE_STEP


def _cost_of_nop(prefixes: bytes, rex: int, long_nops: bool) -> Cost:
    if rex & 1:
        return Cost.FORBIDDEN
    return Cost.FORBIDDEN if _OPERAND_SIZE in prefixes and not long_nops else Cost.EMULATED
