"""What instructions need in order to be moved, compared with an independent disassembler."""

from __future__ import annotations

import random
from typing import Any

import pytest

from arm64_binaries import arm64
from gobuild import every_version
from gotap.image.code.arm64_instructions import CONDITIONAL, SP, G, Instruction, Kind, decode

capstone: Any = pytest.importorskip("capstone", reason="needs the Python package capstone")

_KINDS = {
    "adr": Kind.ADDRESS, "adrp": Kind.PAGE, "bl": Kind.CALL, "blr": Kind.CALL_REGISTER, "b": Kind.JUMP,
    "br": Kind.JUMP_REGISTER, "ret": Kind.RETURN, "cbz": Kind.COMPARE, "cbnz": Kind.COMPARE, "tbz": Kind.TEST,
    "tbnz": Kind.TEST, "svc": Kind.TRAP, "brk": Kind.TRAP, "hlt": Kind.TRAP, "udf": Kind.TRAP,
    **dict.fromkeys(("ldxr", "ldaxr", "ldxp", "ldaxp", "ldxrb", "ldaxrb", "ldxrh", "ldaxrh"), Kind.EXCLUSIVE_LOAD),
    **dict.fromkeys(("stxr", "stlxr", "stxp", "stlxp", "stxrb", "stlxrb", "stxrh", "stlxrh"), Kind.EXCLUSIVE_STORE),
}  # fmt: skip
#: What must never be displaced, whatever else we think of it: exceptions, hints with a meaning of place or key.
_FIXED = ("hvc", "smc", "dcps", "eret", "drps", "bti", "pac", "aut", "xpac", "wfe", "wfi", "sev", "hint", "dc", "ic",
          "at", "tlbi", "sys")  # fmt: skip


@pytest.fixture(scope="module")
def disassembler() -> Any:
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    engine.detail = True
    return engine


def judge(engine: Any, word: int, address: int) -> Any:
    """The disassembler's view, None if it is no instruction to it."""
    return next(iter(engine.disasm(word.to_bytes(4, "little"), address, 1)), None)


def agrees(ours: Instruction, theirs: Any) -> bool:
    """Whether kind, target and base are what the disassembler says; that we know less is fine."""
    name = theirs.mnemonic
    kind = _KINDS.get(name) or (Kind.CONDITION if name.startswith("b.") else None)
    operands = theirs.operands
    memory = [one.mem for one in operands if one.type == capstone.arm64.ARM64_OP_MEM]
    if ours.kind in (Kind.UNKNOWN, Kind.TRAP):
        return True
    if ours.kind is Kind.LITERAL:
        return name in ("ldr", "ldrsw") and not memory and operands[-1].imm == ours.target
    if kind is not None:
        constant = [one.imm for one in operands if one.type == capstone.arm64.ARM64_OP_IMM]
        placed = ours.kind in CONDITIONAL or ours.kind in (Kind.ADDRESS, Kind.PAGE, Kind.CALL, Kind.JUMP)
        if not memory:
            return ours.kind is kind and (not placed or constant[-1] & 2**64 - 1 == (ours.target or 0) & 2**64 - 1)
    elif ours.kind is not Kind.PLAIN or name.startswith(_FIXED):
        return False
    if not memory:
        return ours.base is None or name.startswith("prfm")
    base = theirs.reg_name(memory[0].base)
    number = {"sp": SP, "fp": 29, "x29": 29, "lr": 30, "x30": 30}.get(base) or int(base[1:])
    return ours.base == number and ours.indexed == bool(memory[0].index)


@pytest.mark.parametrize("go", every_version())
def test_all_code_of_a_program(go: str, disassembler: Any) -> None:
    """Every different instruction of a program; nearly all are known."""
    binary = arm64("hooked", go)
    seen: set[int] = set()
    unknown = 0
    for _, code in binary.compiled():
        for one in code.instructions:
            if one.word in seen or one.address in code.constants:
                continue
            seen.add(one.word)
            theirs = judge(disassembler, one.word, one.address)
            if theirs is not None:
                unknown += one.kind is Kind.UNKNOWN
                assert agrees(one, theirs), (theirs.mnemonic, theirs.op_str, one)
    assert len(seen) > 10_000
    assert unknown < len(seen) / 1000


def test_random_words(disassembler: Any) -> None:
    """What is no instruction to the disassembler is never moved if it lies in a class that jumps or accesses memory."""
    chance = random.Random(0)
    known = 0
    for _ in range(60_000):
        word = chance.getrandbits(32)
        theirs = judge(disassembler, word, 0x400000)
        if theirs is not None:
            known += 1
            assert agrees(decode(word, 0x400000), theirs), (hex(word), theirs.mnemonic, theirs.op_str)
    assert known > 20_000


def test_what_may_fault() -> None:
    """The stack and g are always there; a pointer may be nil; an index was checked."""
    for word in (0xF9400B90, 0xF84207FE, 0xF8637800, 0xD65F03C0):
        assert not decode(word, 0).may_fault
    for word in (0xF9400000, 0x39800002):
        assert decode(word, 0).may_fault
    assert decode(0xF9400B90, 0).base == G
