"""BPF's loads, stores and atomic operations in x86-64."""

from __future__ import annotations

from gotap.bpf import isa
from gotap.bpf.isa import Atomic, Class, Instruction
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.computing import REGISTERS
from gotap.inject.x86.operands import EAX, R9, R10, R11, RAX, Register, mem


def access(asm: Assembler, one: Instruction) -> None:
    """An instruction of class LDX, ST or STX that is not atomic."""
    group, mode, size = one.opcode & 7, one.opcode & 0xE0, isa.SIZE_BYTES[one.opcode & 0x18]
    if group == Class.LDX:
        dst, place = REGISTERS[one.dst], mem(REGISTERS[one.src], one.offset, size=size)
        if mode == isa.MODE_MEMSX:
            asm.movsx(dst, place)
        elif size == 8:
            asm.mov(dst, place)
        else:
            asm.movzx(dst, place)
        return
    place = mem(REGISTERS[one.dst], one.offset, size=size)
    if group == Class.ST:
        asm.mov(place, one.imm & (1 << 8 * size) - 1 if size < 8 else one.imm)
    else:
        asm.mov(place, REGISTERS[one.src].sized(size))


def atomic(asm: Assembler, one: Instruction, *, locked: bool = True) -> None:
    """Not `locked`: no other thread writes there. A lock takes 20 cycles, whether anybody contends for it or not."""
    size = isa.SIZE_BYTES[one.opcode & 0x18]
    place, src = mem(REGISTERS[one.dst], one.offset, size=size), REGISTERS[one.src].sized(size)
    lock = asm.lock if locked else lambda: asm
    operation = Atomic(one.imm & ~Atomic.FETCH) if one.imm not in (Atomic.XCHG, Atomic.CMPXCHG) else Atomic(one.imm)
    if operation == Atomic.XCHG and locked:
        asm.xchg(place, src)
    elif operation == Atomic.XCHG:  # the processor would lock
        asm.mov(R11.sized(size), place)
        asm.mov(place, src)
        asm.mov(src, R11.sized(size))
    elif operation == Atomic.CMPXCHG:
        lock().cmpxchg(place, src)
        if size == 4:
            asm.mov(EAX, EAX)  # where they were equal RAX keeps its upper half; BPF's R0 does not
    elif operation == Atomic.ADD:
        if one.imm & Atomic.FETCH:
            lock().xadd(place, src)
        else:
            lock().add(place, src)
    elif one.imm & Atomic.FETCH and locked:
        _fetched(asm, operation, one, src)
    elif one.imm & Atomic.FETCH:
        asm.mov(R11.sized(size), place)
        _BITWISE[operation](asm, place, src)
        asm.mov(src, R11.sized(size))
    else:
        _BITWISE[operation](lock(), place, src)


_BITWISE = {Atomic.OR: Assembler.or_, Atomic.AND: Assembler.and_, Atomic.XOR: Assembler.xor}


def _fetched(asm: Assembler, operation: Atomic, one: Instruction, src: Register) -> None:
    """src = what was there before it was or-ed, and-ed, xor-ed: the processor has only compare and exchange for it."""
    again, size = asm.new_label("again"), src.size
    rax, new = RAX.sized(size), R10.sized(size)
    asm.mov(R11, RAX)  # R0
    asm.mov(R9, R11 if one.src == 0 else src.sized(8))
    base = R11 if one.dst == 0 else REGISTERS[one.dst]
    place = mem(base, one.offset, size=size)
    asm.mov(rax, place)
    asm.label(again)
    asm.mov(new, rax)
    _BITWISE[operation](asm, new, R9.sized(size))
    asm.lock().cmpxchg(place, new)
    asm.jne(again)
    if one.src != 0:
        asm.mov(src.sized(8), RAX)
        asm.mov(RAX, R11)
