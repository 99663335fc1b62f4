"""The assembler of arm64 hook stubs, read by an independent disassembler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gotap.inject.arm64.assembler import SP, ZR, Assembler

capstone: Any = pytest.importorskip("capstone", reason="needs the Python package capstone")

AT = 0x401F00
CASES: dict[str, Callable[[Assembler], None]] = {
    "b #0x402000": lambda a: a.b(0x402000),
    "bl #0x401000": lambda a: a.bl(0x401000),
    "blr x16": lambda a: a.blr(16),
    "ret": lambda a: a.ret(),
    "mov x19, x17": lambda a: a.mov(19, 17),
    "mov x27, #0xdead": lambda a: a.movz(27, 0xDEAD),
    "add x0, x19, #0x40": lambda a: a.add(0, 19, 64),
    "add sp, x17, #2, lsl #12": lambda a: a.add(SP, 17, 8192),
    "sub sp, x27, #0x40": lambda a: a.add(SP, 27, -64),
    "mov x27, sp": lambda a: a.add(27, SP, 0),
    "add x17, x17, #1, lsl #12; add x17, x17, #0x10": lambda a: a.add(17, 17, 4112),
    "add x17, x27, x17, lsl #13": lambda a: a.add_shifted(17, 27, 17, 13),
    "sub x27, x27, x16": lambda a: a.sub(27, 27, 16),
    "and x17, x17, x16, lsr #11": lambda a: a.and_shifted(17, 17, 16, 11),
    "adrp x27, #0x420000; add x27, x27, #0x40": lambda a: a.address_in(27, 0x420040),
    "mrs x16, nzcv": lambda a: a.read_flags(16),
    "msr nzcv, x16": lambda a: a.write_flags(16),
    "ldr x16, [x28, #0x30]": lambda a: a.ldr(16, 28, 48),
    "ldr w17, [x17, #8]": lambda a: a.ldr(17, 17, 8, size=4),
    "ldrb w27, [x17, #0x150]": lambda a: a.ldr(27, 17, 336, size=1),
    "strb wzr, [x17, #0x150]": lambda a: a.str(ZR, 17, 336, size=1),
    "strh w1, [x2, #2]": lambda a: a.str(1, 2, 2, size=2),
    "str x20, [sp, #8]": lambda a: a.str(20, SP, 8),
    "adrp x17, #0x420000; ldr w17, [x17, #0x48]": lambda a: a.ldr_at(17, 0x420048, size=4),
    "ldp x14, x15, [x17, #0xb0]": lambda a: a.ldp(14, 15, 17, 176),
    "stp x25, x26, [x17, #-0x200]": lambda a: a.stp(25, 26, 17, -512),
    "stp x16, x17, [sp, #-0x40]!": lambda a: a.push(16, 17, 64),
    "ldp x16, x17, [sp], #0x40": lambda a: a.pop(16, 17, 64),
    "ldaxr w27, [x17]": lambda a: a.ldaxr(27, 17, size=4),
    "ldaxr x16, [x17]": lambda a: a.ldaxr(16, 17),
    "stxr w27, w16, [x17]": lambda a: a.stxr(27, 16, 17, size=4),
    "stxr w27, x16, [x17]": lambda a: a.stxr(27, 16, 17),
    "clrex": lambda a: a.clrex(),
}


def read(code: bytes) -> str:
    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    return "; ".join(f"{one.mnemonic} {one.op_str}".strip() for one in engine.disasm(code, AT))


@pytest.mark.parametrize("text", CASES)
def test_encodings(text: str) -> None:
    a = Assembler(AT)
    CASES[text](a)
    assert read(a.finish()) == text


def test_labels() -> None:
    """Forwards and backwards."""
    a = Assembler(AT)
    a.label("start")
    a.cbz(16, "end")
    a.cbnz(27, "start", bits=32)
    a.b("start")
    a.label("end")
    assert a.here == AT + 12
    assert read(a.finish()) == f"cbz x16, #{AT + 12:#x}; cbnz w27, #{AT:#x}; b #{AT:#x}"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: a.ldr(0, 0, 4),
        lambda a: a.ldr(0, 0, 1 << 15),
        lambda a: a.stp(0, 1, 2, 512),
        lambda a: a.stp(0, 1, 2, 4),
        lambda a: a.movz(0, 1 << 16),
        lambda a: a.add(0, 0, 1 << 24),
        lambda a: (a.label("twice"), a.label("twice")),
    ],
)
def test_what_has_no_encoding(wrong: Callable[[Assembler], None]) -> None:
    with pytest.raises(ValueError, match=r"offset|bits|already"):
        wrong(Assembler(AT))


def test_a_label_that_is_too_far() -> None:
    a = Assembler(AT)
    a.cbz(0, "far")
    a.word(*[0] * (1 << 18))
    a.label("far")
    with pytest.raises(ValueError, match="too far"):
        a.finish()
