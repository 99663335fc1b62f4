"""A64 instructions encoded anew, so that they do at another address what they did at their own.

Addresses are the image's. What is computed from the PC keeps its distance, so the code is right under any load bias
that is a multiple of 4 KiB, which every bias of Linux is. A call is made by hand, so that the link register holds the
ORIGINAL return address: Go unwinds and copies stacks by it, and must find nothing of ours there. A processor predicts
returns by the calls it saw; so that those further out stay right, the link register is first set by a call within the
trampoline (one that skips something: a call of the next instruction is the idiom for reading the PC, and not counted).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from msgspec import Struct

from gotap.image.errors import ImageError

from .arm64_instructions import IP0, LR, NOP, Instruction, Kind

#: B and BL reach ±128 MiB, ADRP ±4 GiB, the conditional jumps no more than ±1 MiB.
BRANCH_REACH = 1 << 27
_PAGE_REACH = 1 << 32
_ZERO = 31
#: BL .+8 and a trap that it skips.
_COUNTS_AS_CALL = [0x94000002, 0xD4200000]
_ENDS = frozenset((Kind.CALL, Kind.CALL_REGISTER, Kind.JUMP, Kind.JUMP_REGISTER, Kind.RETURN))


#: At most what an instruction becomes: a call of a far function, or one through the link register; 28 bytes.
LARGEST = 28


class OutOfReach(ImageError):
    """Code at one address cannot lead to another. `at` and `target` are the image's addresses."""

    def __init__(self, at: int, target: int) -> None:
        super().__init__(
            f"code at {at:#x} cannot reach {target:#x}: an arm64 branch reaches 128 MiB",
            "use --via uprobe for these sites: no free address near enough was found",
        )
        self.at = at
        self.target = target


class Displaced(Struct, frozen=True):
    """Instructions taken from where a jump is written, to be executed elsewhere.

    `literals`: what the image holds where an instruction at that address reads its constant.
    """

    instructions: tuple[Instruction, ...] = ()
    literals: tuple[tuple[int, bytes], ...] = ()

    @property
    def leaves(self) -> bool:
        """Whether control never goes on behind the last instruction: a return, jump or call."""
        return bool(self.instructions) and self.instructions[-1].kind in _ENDS

    def encode(self, at: int, bias: int = 0) -> bytes:
        """Machine code for `at`, an address as in the image. The load bias changes nothing here. Raises OutOfReach.

        The parameters are those of the x86-64 code of this name.
        """
        words: list[int] = []
        for instruction in self.instructions:
            words += self._moved(instruction, at + 4 * len(words))
        return struct.pack(f"<{len(words)}I", *words)

    def _moved(self, one: Instruction, at: int) -> list[int]:
        match one.kind:
            case Kind.ADDRESS | Kind.PAGE:
                assert one.target is not None
                assert one.register is not None
                return address_of(one.target, at, one.register, whole=one.kind is Kind.ADDRESS)
            case Kind.LITERAL:
                return _literal(one, dict(self.literals)[one.address])
            case Kind.CONDITION | Kind.COMPARE | Kind.TEST:
                return _conditional(one, at)
            case Kind.JUMP:
                assert one.target is not None
                return jump(at, one.target)
            case Kind.CALL:
                assert one.target is not None
                return [*_link(one, at), *_callee(at + 16, one.target)]
            case Kind.CALL_REGISTER:
                return _call_register(one, at)
            case _:
                return [one.word]


def jump(at: int, target: int) -> list[int]:
    """B, which changes nothing but the PC. Raises OutOfReach."""
    distance = target - at
    if not -BRANCH_REACH <= distance < BRANCH_REACH or distance & 3:
        raise OutOfReach(at, target)
    return [0x14000000 | distance >> 2 & 0x3FFFFFF]


def address_of(target: int, at: int, register: int, whole: bool = True) -> list[int]:
    """The register ← the address, or its page if not `whole`: ADRP and ADD. Raises OutOfReach."""
    if register == _ZERO:
        return [NOP]
    pages = (target >> 12) - (at >> 12)
    if not -_PAGE_REACH <= pages << 12 < _PAGE_REACH:
        raise OutOfReach(at, target)
    words = [0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5 | register]
    return [*words, 0x91000000 | (target & 0xFFF) << 10 | register << 5 | register] if whole else words


def nearby(at: int, target: int) -> bool:
    """Whether a jump at one address reaches the other."""
    return -BRANCH_REACH <= target - at < BRANCH_REACH


def words_of(words: Iterable[int]) -> bytes:
    """Words as they stand in memory."""
    words = list(words)
    return struct.pack(f"<{len(words)}I", *words)


def _conditional(one: Instruction, at: int) -> list[int]:
    """The inverse condition jumps over a B, which reaches further than a condition does."""
    assert one.target is not None
    if one.kind is Kind.CONDITION:
        inverse = 0x54000000 | 2 << 5 | one.word & 0xF ^ 1
    else:
        offset = 0x3FFF if one.kind is Kind.TEST else 0x7FFFF
        inverse = one.word & ~(offset << 5) ^ 1 << 24 | 2 << 5
    return [inverse, *jump(at + 4, one.target)]


def _literal(one: Instruction, value: bytes) -> list[int]:
    """The constant moves along, behind a jump over it."""
    constant = struct.unpack(f"<{len(value) // 4}I", value)
    load = one.word & ~(0x7FFFF << 5) | 2 << 5
    return [load, 0x14000000 | 1 + len(constant), *constant]


def _callee(at: int, target: int) -> list[int]:
    """To a function, however far it is: IP0 is free at any call, and linkers' own trampolines use it."""
    return jump(at, target) if nearby(at, target) else [*address_of(target, at, IP0), 0xD61F0000 | IP0 << 5]


def _call_register(one: Instruction, at: int) -> list[int]:
    assert one.register is not None
    register, words = one.register, []
    if register == LR:
        words = [0xAA0003E0 | LR << 16 | IP0]
        register = IP0
    words += _link(one, at + 4 * len(words))
    return [*words, 0xD61F0000 | register << 5]


def _link(call: Instruction, at: int) -> list[int]:
    """The link register as the call would leave it."""
    return [*_COUNTS_AS_CALL, *address_of(call.address + 4, at + 8, LR)]
