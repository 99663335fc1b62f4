"""What x86-64 instructions work on: registers that know their width, places in memory, conditions.

    RAX, EAX, AX, AL …      one register in its four widths; `EAX.sized(8)` is RAX
    mem(RBX, 8)             [rbx+8], as wide as the other operand
    qword(RBX, 8)           [rbx+8], 8 bytes: where no other operand tells (a store of an immediate, inc, shl …)
    mem(RBX, 8, RCX, 4)     [rbx+rcx*4+8]
    rip("table")            a label, relative to the instruction pointer; an int is an absolute address within ±2 GB
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from gotap.errors import GotapError


class EncodingError(GotapError):
    """There is no such x86-64 instruction: widths that differ, an immediate or a distance that does not fit."""


class Register(Struct, frozen=True):
    """A general-purpose register: its number (0–15, as instructions encode it) and width in bytes."""

    number: int
    size: int = 8

    def sized(self, size: int) -> Register:
        """The same register in another width: 1, 2, 4 or 8 bytes."""
        return _WIDTHS[size][self.number]

    def __repr__(self) -> str:
        return _NAMES[self.size][self.number]


def _names() -> dict[int, tuple[str, ...]]:
    old = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
    low = ("al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil")
    new = tuple(f"r{number}" for number in range(8, 16))
    return {
        8: (*(f"r{name}" for name in old), *new),
        4: (*(f"e{name}" for name in old), *(f"{name}d" for name in new)),
        2: (*old, *(f"{name}w" for name in new)),
        1: (*low, *(f"{name}b" for name in new)),
    }


_NAMES = _names()
_WIDTHS = {size: tuple(Register(number, size) for number in range(16)) for size in (1, 2, 4, 8)}

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 = _WIDTHS[8]
EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI, R8D, R9D, R10D, R11D, R12D, R13D, R14D, R15D = _WIDTHS[4]
AX, CX, DX, BX, SP, BP, SI, DI, R8W, R9W, R10W, R11W, R12W, R13W, R14W, R15W = _WIDTHS[2]
AL, CL, DL, BL, SPL, BPL, SIL, DIL, R8B, R9B, R10B, R11B, R12B, R13B, R14B, R15B = _WIDTHS[1]

#: Where a branch goes, or what is addressed relative to RIP: a label, or an absolute address.
Target = str | int


class Memory(Struct, frozen=True):
    """[base + index·scale + displacement], or `target` relative to RIP. `size` in bytes; 0: the other operand tells."""

    base: Register | None = None
    displacement: int = 0
    index: Register | None = None
    scale: int = 1
    size: int = 0
    target: Target | None = None


Place = Register | Memory


def mem(
    base: Register | None, displacement: int = 0, index: Register | None = None, scale: int = 1, size: int = 0
) -> Memory:
    """Without base and index: the absolute address `displacement`, which is sign-extended from 32 bits."""
    if not -0x80000000 <= displacement <= 0x7FFFFFFF:
        raise EncodingError(f"displacement {displacement:#x} does not fit in 32 bits")
    if scale not in (1, 2, 4, 8) or index == RSP:
        raise EncodingError(f"there is no address with index {index}·{scale}")
    return Memory(base, displacement, index, scale, size)


def byte(base: Register | None, displacement: int = 0, index: Register | None = None, scale: int = 1) -> Memory:
    return mem(base, displacement, index, scale, 1)


def word(base: Register | None, displacement: int = 0, index: Register | None = None, scale: int = 1) -> Memory:
    return mem(base, displacement, index, scale, 2)


def dword(base: Register | None, displacement: int = 0, index: Register | None = None, scale: int = 1) -> Memory:
    return mem(base, displacement, index, scale, 4)


def qword(base: Register | None, displacement: int = 0, index: Register | None = None, scale: int = 1) -> Memory:
    return mem(base, displacement, index, scale, 8)


def rip(target: Target, size: int = 0, displacement: int = 0) -> Memory:
    """`displacement` bytes behind a label or an absolute address."""
    return Memory(None, displacement, size=size, target=target)


class Condition(IntEnum):
    """Lower half of the opcodes of jcc, setcc and cmovcc. ABOVE and BELOW compare unsigned, GREATER and LESS signed."""

    OVERFLOW = 0
    NOT_OVERFLOW = 1
    BELOW = 2  # also: carry
    ABOVE_EQUAL = 3  # also: no carry
    EQUAL = 4  # also: zero
    NOT_EQUAL = 5
    BELOW_EQUAL = 6
    ABOVE = 7
    SIGN = 8
    NOT_SIGN = 9
    PARITY = 10
    NOT_PARITY = 11
    LESS = 12
    GREATER_EQUAL = 13
    LESS_EQUAL = 14
    GREATER = 15

    def negated(self) -> Condition:
        return Condition(self ^ 1)
