"""What all routines in machine code share.

A helper has its arguments in RDI RSI RDX RCX R8, the thread's slot in R12, its result in RAX; it keeps RBX RBP R12–R15
and may lose everything else but the vector registers, which nothing here touches. It runs on the slot's stack.
"""

from __future__ import annotations

from enum import IntEnum

from gotap.inject.machine.layout import Slot
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    EAX,
    ECX,
    R9,
    R12,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RSI,
    RSP,
    Memory,
    byte,
    mem,
)

#: Longer copies are string instructions, which take longer to start, and most of all on CPUs without FSRM.
_BY_WORDS = 256


class Work(IntEnum):
    """Words of a slot's WORK. Routines that call each other use different ones."""

    STEPS = Slot.WORK  # how often something may still be tried
    VALUE = Slot.WORK + 0x08
    MODE = Slot.WORK + 0x10
    ELEMENT = Slot.WORK + 0x18
    BUCKET = Slot.WORK + 0x20
    TEXT = Slot.WORK + 0x28
    DATA = Slot.WORK + 0x30
    LENGTH = Slot.WORK + 0x38
    OLD_MASK = Slot.WORK + 0x40
    NEW_MASK = Slot.WORK + 0x48
    WORD = Slot.WORK + 0x50
    ROOM = Slot.WORK + 0x58
    SOURCE = Slot.WORK + 0x60
    TARGET = Slot.WORK + 0x68
    TEXT_WORD = Slot.WORK + 0x70
    TIME = Slot.WORK + 0x78  # struct timespec


def slot(field: int, size: int = 0) -> Memory:
    """A field of the thread's slot."""
    return mem(R12, field, size=size)


def fail(a: Assembler, label: str, number: int) -> None:
    """Places a label behind which a helper returns an error as BPF helpers do: negative."""
    a.label(label)
    a.mov(RAX, -number)
    a.ret()


def copy(a: Assembler) -> None:
    """Copies RCX bytes from RSI to RDI. Loses RAX, RCX, RSI, RDI."""
    names = ("blocks", "words", "long", "tail", "each", "copied", "less")
    blocks, words, long, tail, each, done, less = (a.new_label(name) for name in names)
    a.cmp(RCX, _BY_WORDS)
    a.ja(long)
    a.sub(RCX, 32)
    a.jb(less)
    a.label(blocks)
    for offset in range(0, 32, 8):
        a.mov(RAX, mem(RSI, offset))
        a.mov(mem(RDI, offset), RAX)
    a.add(RSI, 32)
    a.add(RDI, 32)
    a.sub(RCX, 32)
    a.jae(blocks)
    a.label(less)
    a.add(RCX, 24)
    a.js(tail)
    a.label(words)
    a.mov(RAX, mem(RSI))
    a.mov(mem(RDI), RAX)
    a.add(RSI, 8)
    a.add(RDI, 8)
    a.sub(RCX, 8)
    a.jae(words)
    a.label(tail)
    a.add(ECX, 8)
    a.je(done)
    a.label(each)
    a.movzx(EAX, byte(RSI))
    a.mov(byte(RDI), EAX.sized(1))
    a.inc(RSI)
    a.inc(RDI)
    a.dec(ECX)
    a.jne(each)
    a.jmp(done)
    a.label(long)
    a.rep_movsb()
    a.label(done)


def host_call(a: Assembler, own: int) -> None:
    """`host.call`: (RDI, RSI, RDX, RCX, R8, R9 routine) as a C function, on the slot at `own`: of gotap itself."""
    saved = (RBX, RBP, R12, R13, R14, R15)
    a.align(16)
    a.label("host.call")
    for register in saved:
        a.push(register)
    a.mov(R12, own)
    a.sub(RSP, 8)  # six registers and the return address: calls find the stack aligned to 16 bytes
    a.call(R9)
    a.add(RSP, 8)
    for register in reversed(saved):
        a.pop(register)
    a.ret()
