"""Machine code that runs elsewhere than it was linked for: what a jump overwrites, moved into a trampoline.

Every instruction does the same there as in its place: memory relative to RIP and targets of jumps are corrected, short
jumps become near ones, nothing else changes, no register and no flag. Two things need more than that.

A call must push the return address that it has in the function. The runtime finds frames by return addresses when it
walks stacks (runtime/symtab.go, findfunc; Go 1.18–1.27), and for one in a trampoline it ends the process. So a call
becomes: push that address, jump to the callee, which then returns behind the call in the function. To keep the
processor's prediction of returns balanced, the push is a call within the trampoline whose return address is replaced;
one to the very next instruction would not count as a call (Intel's optimisation manual, 3.4.1.4), so it skips a byte.

A fault must not happen there: see `faults`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from iced_x86 import Decoder, FlowControl, Instruction, Mnemonic, Register
from msgspec import Struct

from gotap.errors import GotapError

from ..effects import CALLS

_LARGEST_IMMEDIATE = (1 << 31) - 1
#: Where a function is left, or its straight line ends for good.
_ENDS = frozenset(
    (
        FlowControl.RETURN,
        FlowControl.CALL,
        FlowControl.INDIRECT_CALL,
        FlowControl.UNCONDITIONAL_BRANCH,
        FlowControl.INDIRECT_BRANCH,
    )
)

_TRAPS = frozenset((FlowControl.INTERRUPT, FlowControl.EXCEPTION, FlowControl.XBEGIN_XABORT_XEND))
_SYSTEM_CALLS = frozenset((Mnemonic.SYSCALL, Mnemonic.SYSENTER))


class JumpTooFar(GotapError):
    """Code cannot be moved there: something that it refers to is more than 2 GB away."""

    def __init__(self, target: int, at: int) -> None:
        super().__init__(
            f"code at {at:#x} cannot reach {target:#x}: they are more than 2 GB apart",
            "place the trampoline nearer to the program's text",
        )


class Displaced(Struct, frozen=True, dict=True):
    """Whole instructions, `code`, that stand at `address` in the image, to be run elsewhere."""

    address: int
    code: bytes

    @cached_property
    def instructions(self) -> list[Instruction]:
        return list(Decoder(64, self.code, ip=self.address))

    @property
    def end(self) -> int:
        """The address behind the last instruction, in the function."""
        return self.address + len(self.code)

    @property
    def leaves(self) -> bool:
        """Whether control never goes on behind the last instruction: a return, jump or call."""
        return bool(self.instructions) and self.instructions[-1].flow_control in _ENDS

    def encode(self, at: int, bias: int = 0) -> bytes:
        """The code to be run at `at`. Both that and `address` are addresses as in the image, without load bias.

        `bias` is the load bias of the process: return addresses are absolute. It may change the length.
        Raises JumpTooFar.
        """
        moved = b""
        for instruction, raw in self._pieces():
            moved += _moved(instruction, raw, at + len(moved), bias)
        return moved

    def _pieces(self) -> Iterator[tuple[Instruction, bytes]]:
        for instruction in self.instructions:
            start = instruction.ip - self.address
            yield instruction, self.code[start : start + instruction.len]


def _moved(instruction: Instruction, raw: bytes, at: int, bias: int) -> bytes:
    flow = instruction.flow_control
    if flow in CALLS:
        return _call(instruction, raw, at, bias)
    if flow == FlowControl.UNCONDITIONAL_BRANCH:
        return jump(at, instruction.near_branch_target)
    if flow == FlowControl.CONDITIONAL_BRANCH:
        condition = instruction.condition_code - 1  # iced counts from 1 in the order of the opcodes
        return bytes((0x0F, 0x80 | condition)) + _relative(at + 6, instruction.near_branch_target)
    return _same(instruction, raw, at)


def _same(instruction: Instruction, raw: bytes, at: int) -> bytes:
    """The instruction itself, its memory operand corrected."""
    if not instruction.is_ip_rel_memory_operand:
        return raw
    decoder = Decoder(64, raw, ip=instruction.ip)
    place = decoder.get_constant_offsets(decoder.decode()).displacement_offset  # it knows those of its last instruction
    displacement = _relative(at + len(raw), instruction.ip_rel_memory_address)
    return raw[:place] + displacement + raw[place + 4 :]


def _call(call: Instruction, raw: bytes, at: int, bias: int) -> bytes:
    code = _push_by_call(call.next_ip + bias)
    at += len(code)
    if call.flow_control == FlowControl.CALL:
        return code + jump(at, call.near_branch_target)
    return code + _same(call, _as_jump(raw), at)


def _push_by_call(address: int) -> bytes:
    """Pushes the address; no register and no flag changes, and the processor takes it for a call."""
    if address <= _LARGEST_IMMEDIATE:
        # call +1; int3; movq $address, (%rsp)
        return b"\xe8\x01\0\0\0\xcc\x48\xc7\x04\x24" + address.to_bytes(4, "little")
    # call +8; the address; lea 8(%rsp), %rsp; push -19(%rip): one store, which the return can be forwarded
    return (
        b"\xe8\x08\0\0\0" + address.to_bytes(8, "little") + b"\x48\x8d\x64\x24\x08"
        + b"\xff\x35" + (-19).to_bytes(4, "little", signed=True)
    )  # fmt: skip


def _as_jump(call: bytes) -> bytes:
    """An indirect call, FF /2, as the jump to the same place, FF /4."""
    opcode = call.index(0xFF)
    form = call[opcode + 1]
    return call[: opcode + 1] + bytes((form & ~0x38 | 4 << 3,)) + call[opcode + 2 :]


def jump(at: int, target: int) -> bytes:
    """The five bytes of a jump that stands at `at`. Raises JumpTooFar."""
    return b"\xe9" + _relative(at + 5, target)


def _relative(behind: int, target: int) -> bytes:
    """The distance to a target, of an instruction that ends at `behind`."""
    distance = target - behind
    if not -1 << 31 <= distance < 1 << 31:
        raise JumpTooFar(target, behind)
    return distance.to_bytes(4, "little", signed=True)


def why_not_movable(instruction: Instruction) -> str:
    """What keeps an instruction from being run elsewhere, faults aside; empty: nothing."""
    flow = instruction.flow_control
    if instruction.is_invalid:
        return "is not understood"
    if flow in _TRAPS or instruction.mnemonic in _SYSTEM_CALLS or instruction.is_privileged:
        return "enters the kernel"
    if flow == FlowControl.CONDITIONAL_BRANCH and not instruction.is_jcc_short_or_near:
        return "is a loop instruction"
    if flow == FlowControl.UNCONDITIONAL_BRANCH and not instruction.is_jmp_short_or_near:
        return "is a far jump"
    if flow in CALLS and not (instruction.is_call_near or instruction.is_call_near_indirect):
        return "is a far call"
    if flow == FlowControl.INDIRECT_CALL and instruction.memory_base in (Register.RSP, Register.ESP):
        return "is a call through the stack"
    if instruction.is_ip_rel_memory_operand and instruction.memory_base != Register.RIP:
        return "has a 32-bit address"
    return ""
