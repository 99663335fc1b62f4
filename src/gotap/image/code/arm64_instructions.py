"""A64 instructions as far as moving them needs: does it depend on where it stands, can it fault, where does it go.

Every instruction is one little-endian word. What is not known to be harmless elsewhere is UNKNOWN and is never moved.
Source of the encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), chapter C4 "A64 Instruction Set
Encoding"; the tests compare with an independent disassembler, over whole binaries.
"""

from __future__ import annotations

import struct
from enum import Enum

from msgspec import Struct

#: Register numbers. 31 is SP as the base of a memory access, else the zero register.
IP0, IP1, CONTEXT, TEMPORARY, G, FP, LR, SP = 16, 17, 26, 27, 28, 29, 30, 31
NOP = 0xD503201F
RETURN_TO_LINK = 0xD65F03C0


class Kind(Enum):
    """What an instruction needs to be executed somewhere else."""

    PLAIN = "plain"  # the same word does the same anywhere
    ADDRESS = "adr"  # register ← PC + offset
    PAGE = "adrp"  # register ← page of PC + offset
    LITERAL = "ldr literal"  # register ← memory at PC + offset
    CALL = "bl"
    CALL_REGISTER = "blr"
    JUMP = "b"
    JUMP_REGISTER = "br"
    RETURN = "ret"
    CONDITION = "b.cond"
    COMPARE = "cbz"
    TEST = "tbz"
    EXCLUSIVE_LOAD = "ldxr"
    EXCLUSIVE_STORE = "stxr"
    TRAP = "trap"  # goes to the kernel, or is no instruction
    UNKNOWN = "unknown"


CONDITIONAL = frozenset((Kind.CONDITION, Kind.COMPARE, Kind.TEST))
#: Behind these the next instruction is not reached, or only when a callee returns to it.
LEAVES = frozenset((Kind.JUMP, Kind.JUMP_REGISTER, Kind.RETURN, Kind.TRAP))


class Instruction(Struct, frozen=True):
    """One word at `address`. `target`: where it jumps to or what address it makes or reads, None if no constant.

    `base`: the register that a memory access starts from, None if it accesses none, or a literal. `indexed`: another
    register is added to it. `register`: that of a BR, BLR or RET, or the one that ADR, ADRP, LDR literal set.
    """

    address: int
    word: int
    kind: Kind
    target: int | None = None
    base: int | None = None
    indexed: bool = False
    register: int | None = None

    @property
    def may_fault(self) -> bool:
        """Whether it may touch memory that is not there, in compiled code.

        There the stack and g always are, and an index is checked before it is used, unlike a pointer and a constant.
        """
        return self.base is not None and not self.indexed and self.base not in (SP, G)


def decode(word: int, address: int) -> Instruction:
    """The instruction of that word at that address."""
    match word >> 25 & 0xF:
        case 0b1000 | 0b1001:
            return _immediate(word, address)
        case 0b1010 | 0b1011:
            return _branch(word, address)
        case 0b0100 | 0b0110 | 0b1100 | 0b1110:
            return _memory(word, address)
        case 0b0101 | 0b1101:  # 0xdac1….: pointer authentication, of which some forms hash the PC
            kind = Kind.UNKNOWN if word & 0xFFFF0000 == 0xDAC10000 else Kind.PLAIN
            return Instruction(address, word, kind)
        case 0b0111 | 0b1111:  # floating point, Advanced SIMD
            return Instruction(address, word, Kind.PLAIN)
        case 0b0000:  # UDF, which also pads functions; SME
            return Instruction(address, word, Kind.TRAP if word < 1 << 16 else Kind.UNKNOWN)
        case _:  # SVE, unallocated
            return Instruction(address, word, Kind.UNKNOWN)


def decode_all(code: bytes, address: int) -> list[Instruction]:
    """All whole words of `code`, which stands at `address`."""
    words = struct.unpack_from(f"<{len(code) // 4}I", code)
    return [decode(word, address + 4 * i) for i, word in enumerate(words)]


def signed(value: int, bits: int) -> int:
    """The low `bits` of `value` as a signed number."""
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def _immediate(word: int, address: int) -> Instruction:
    low = word >> 29 & 3
    offset = signed(word >> 5 & 0x7FFFF, 19) << 2 | low
    if word & 0x9F000000 == 0x10000000:
        return Instruction(address, word, Kind.ADDRESS, address + offset, register=word & 31)
    if word & 0x9F000000 == 0x90000000:
        return Instruction(address, word, Kind.PAGE, (address & ~0xFFF) + (offset << 12), register=word & 31)
    if word & 0xFF800000 == 0xF3800000:  # AUTIASPPC and AUTIBSPPC hash the PC
        return Instruction(address, word, Kind.UNKNOWN)
    return Instruction(address, word, Kind.PLAIN)


def _branch(word: int, address: int) -> Instruction:
    if word & 0x7C000000 == 0x14000000:
        target = address + (signed(word, 26) << 2)
        return Instruction(address, word, Kind.CALL if word >> 31 else Kind.JUMP, target)
    if word & 0x7E000000 == 0x36000000:
        return Instruction(address, word, Kind.TEST, address + (signed(word >> 5, 14) << 2))
    near = address + (signed(word >> 5, 19) << 2)
    if word & 0x7E000000 == 0x34000000:
        return Instruction(address, word, Kind.COMPARE, near)
    if word & 0xFF000010 == 0x54000000 and word & 0xE != 0xE:  # "always" as a condition has no inverse
        return Instruction(address, word, Kind.CONDITION, near)
    kind = {0xD61F0000: Kind.JUMP_REGISTER, 0xD63F0000: Kind.CALL_REGISTER, 0xD65F0000: Kind.RETURN}.get(
        word & 0xFFFFFC1F
    )
    if kind is not None:
        return Instruction(address, word, kind, register=word >> 5 & 31)
    if word >> 24 == 0xD4:  # SVC, BRK, HLT …
        return Instruction(address, word, Kind.TRAP)
    return Instruction(address, word, Kind.PLAIN if _is_harmless_system(word) else Kind.UNKNOWN)


def _is_harmless_system(word: int) -> bool:
    """NOP, YIELD; CLREX, DSB, DMB, ISB, SB; MRS and MSR of a register. Not BTI, which marks where calls may land."""
    if word in (NOP, 0xD503203F):
        return True
    barrier = word & 0xFFFFF01F == 0xD503301F and word >> 5 & 7 in (2, 4, 5, 6, 7)
    return barrier or word & 0xFFD00000 == 0xD5100000


def _memory(word: int, address: int) -> Instruction:
    if word & 0x3B000000 == 0x18000000:
        prefetch = word >> 30 == 3
        target = address + (signed(word >> 5, 19) << 2)
        return Instruction(address, word, Kind.UNKNOWN if prefetch else Kind.LITERAL, target, register=word & 31)
    if word & 0x3B200C00 == 0x19000400:  # CPY and SET have three registers that are no ordinary base
        return Instruction(address, word, Kind.UNKNOWN)
    base = word >> 5 & 31
    if word & 0x3F800000 == 0x08000000 and (not word & 1 << 21 or word >> 31):
        kind = Kind.EXCLUSIVE_LOAD if word & 1 << 22 else Kind.EXCLUSIVE_STORE
        return Instruction(address, word, kind, base=base)
    indexed = word & 0x3B200C00 == 0x38200800
    return Instruction(address, word, Kind.PLAIN, base=base, indexed=indexed)
