"""BPF's arithmetic in x86-64: one instruction at a time, with BPF's answers where the processor would trap."""

from __future__ import annotations

from collections.abc import Callable

from gotap.bpf import isa
from gotap.bpf.isa import Alu, Class, Instruction
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    CL,
    EDX,
    R8,
    R9,
    R10,
    R11,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    Condition,
    Register,
    mem,
    rip,
)

#: BPF's registers by number. What the kernel's own translator takes (arch/x86/net/bpf_jit_comp.c, reg2hex), but for
#: R9, which is free here: R12 is the thread's slot. Scratch: R9, R10, R11.
REGISTERS: tuple[Register, ...] = (RAX, RDI, RSI, RDX, RCX, R8, RBX, R13, R14, R15, RBP)

#: Addresses that all code of a program can reach, which is less than 16 MB long.
NEAR = 0x7F000000


def compute(asm: Assembler, one: Instruction) -> None:
    """An instruction of class ALU or ALU64. Results of 32 bits clear the upper half, as on x86-64."""
    size = 8 if one.opcode & 7 == Class.ALU64 else 4
    operation = one.opcode & 0xF0
    dst = REGISTERS[one.dst].sized(size)
    if operation == Alu.END:
        _byte_order(asm, REGISTERS[one.dst], one.imm, swap=size == 8 or bool(one.opcode & isa.REG))
    elif operation == Alu.NEG:
        asm.neg(dst)
    elif operation in (Alu.DIV, Alu.MOD):
        _divide(asm, one, size)
    elif operation == Alu.MOV:
        _move(asm, one, size)
    elif operation in (Alu.LSH, Alu.RSH, Alu.ARSH):
        if one.opcode & isa.REG:
            _shift(asm, operation, dst, REGISTERS[one.src])
        elif one.imm & 8 * size - 1:
            _SHIFTS[operation](asm, dst, one.imm & 8 * size - 1)
        elif size == 4:
            asm.mov(dst, dst)
    elif operation == Alu.MUL:
        if one.opcode & isa.REG:
            asm.imul(dst, REGISTERS[one.src].sized(size))
        else:
            asm.imul(dst, dst, one.imm)
    else:
        _SIMPLE[operation](asm, dst, REGISTERS[one.src].sized(size) if one.opcode & isa.REG else one.imm)


_Operation = Callable[[Assembler, Register, Register | int], None]
_SIMPLE: dict[int, _Operation] = {
    Alu.ADD: Assembler.add, Alu.SUB: Assembler.sub, Alu.OR: Assembler.or_, Alu.AND: Assembler.and_,
    Alu.XOR: Assembler.xor,
}  # fmt: skip
_SHIFTS: dict[int, _Operation] = {Alu.LSH: Assembler.shl, Alu.RSH: Assembler.shr, Alu.ARSH: Assembler.sar}


def _move(asm: Assembler, one: Instruction, size: int) -> None:
    dst = REGISTERS[one.dst].sized(size)
    if not one.opcode & isa.REG:
        constant(asm, REGISTERS[one.dst], one.imm if size == 8 else one.imm & 0xFFFFFFFF)
    elif one.offset:
        asm.movsx(dst, REGISTERS[one.src].sized(one.offset // 8))
    elif size == 4 or one.dst != one.src:
        asm.mov(dst, REGISTERS[one.src].sized(size))


def constant(asm: Assembler, dst: Register, value: int) -> None:
    """Any 64-bit constant, in the shortest way; flags are lost."""
    if value == 0:
        asm.xor(dst.sized(4), dst.sized(4))
    else:
        asm.mov(dst, value)


def load_address(asm: Assembler, dst: Register, address: int) -> None:
    """An absolute address, in seven bytes where it is near."""
    if address >> 32 and abs(address - asm.origin) < NEAR:
        asm.lea(dst, rip(address))
    else:
        constant(asm, dst, address)


def _byte_order(asm: Assembler, dst: Register, bits: int, *, swap: bool) -> None:
    if bits == 16:
        if swap:
            asm.rol(dst.sized(2), 8)
        asm.movzx(dst, dst.sized(2))
    elif swap:
        asm.bswap(dst.sized(bits // 8))
    elif bits == 32:
        asm.mov(dst.sized(4), dst.sized(4))


def _shift(asm: Assembler, operation: int, dst: Register, count: Register) -> None:
    """Only CL can count; R4 lives in RCX. The processor takes the count modulo the width, as BPF does."""
    shift = _SHIFTS[operation]
    if count == RCX and dst.number != RCX.number:
        shift(asm, dst, CL)
    elif dst.number == RCX.number:
        work = R11.sized(dst.size)
        asm.mov(work, dst)
        if count != RCX:
            asm.mov(RCX, count)
        shift(asm, work, CL)
        asm.mov(dst, work)
    else:
        asm.mov(R11, RCX)
        asm.mov(RCX, count)
        shift(asm, dst, CL)
        asm.mov(RCX, R11)


def _divide(asm: Assembler, one: Instruction, size: int) -> None:
    """dst / src or dst % src. By zero: 0, and dst itself. Signed, the least number by -1: itself, and 0.

    Documentation/bpf/standardization/instruction-set.rst.
    """
    modulo, signed = one.opcode & 0xF0 == Alu.MOD, one.offset == 1
    dst, full = REGISTERS[one.dst].sized(size), REGISTERS[one.dst]
    if not one.opcode & isa.REG:
        divisor = one.imm & (1 << 8 * size) - 1
        if _simple_divisor(asm, full, divisor, size, modulo=modulo, signed=signed):
            return
        if signed and one.imm == -1:
            _divided_by_minus_one(asm, dst, modulo=modulo)
        else:
            constant(asm, R11, divisor if size == 4 else one.imm)
            _division(asm, dst, R11.sized(size), modulo=modulo, signed=signed)
        return
    by, zero, done = R11.sized(size), asm.new_label("zero"), asm.new_label("divided")
    asm.mov(by, REGISTERS[one.src].sized(size))
    asm.test(by, by)
    asm.je(zero)
    if signed:
        usual = asm.new_label("usual")
        asm.cmp(by, -1)
        asm.jne(usual)
        _divided_by_minus_one(asm, dst, modulo=modulo)
        asm.jmp(done)
        asm.label(usual)
    _division(asm, dst, by, modulo=modulo, signed=signed)
    asm.jmp(done)
    asm.label(zero)
    if not modulo:
        asm.xor(dst.sized(4), dst.sized(4))
    elif size == 4:
        asm.mov(dst, dst)
    asm.label(done)


def _simple_divisor(asm: Assembler, dst: Register, divisor: int, size: int, *, modulo: bool, signed: bool) -> bool:
    """Divisions by constants that need none: by 0, and unsigned by powers of two."""
    narrow = dst.sized(size)
    if divisor == 0:
        if not modulo:
            constant(asm, dst, 0)
        elif size == 4:
            asm.mov(narrow, narrow)
        return True
    if signed or divisor & divisor - 1:
        return False
    if modulo:
        asm.and_(narrow, divisor - 1)
    elif divisor > 1:
        asm.shr(narrow, divisor.bit_length() - 1)
    elif size == 4:
        asm.mov(narrow, narrow)
    return True


def _divided_by_minus_one(asm: Assembler, dst: Register, *, modulo: bool) -> None:
    if modulo:
        asm.xor(dst.sized(4), dst.sized(4))
    else:
        asm.neg(dst)


def _division(asm: Assembler, dst: Register, by: Register, *, modulo: bool, signed: bool) -> None:
    """`by` is R11 and neither 0 nor -1; RAX and RDX are kept but for dst."""
    size = dst.size
    rax, rdx = RAX.sized(size), RDX.sized(size)
    if dst != rax:
        asm.mov(R9, RAX)
    if dst != rdx:
        asm.mov(R10, RDX)
    if dst != rax:
        asm.mov(rax, dst)
    if signed:
        asm.cqo() if size == 8 else asm.cdq()
        asm.idiv(by)
    else:
        asm.xor(EDX, EDX)
        asm.div(by)
    result = rdx if modulo else rax
    if dst != result:
        asm.mov(dst, result)
    if dst != rax:
        asm.mov(RAX, R9)
    if dst != rdx:
        asm.mov(RDX, R10)


def combined(asm: Assembler, first: Instruction, second: Instruction) -> bool:
    """`mov a, b; add a, c` in one lea, if these two are that."""
    if first.opcode != Class.ALU64 | Alu.MOV | isa.REG or first.offset or first.dst != second.dst:
        return False
    dst, src = REGISTERS[first.dst], REGISTERS[first.src]
    if second.opcode == Class.ALU64 | Alu.ADD:
        asm.lea(dst, mem(src, second.imm))
    elif second.opcode == Class.ALU64 | Alu.SUB and second.imm != -0x80000000:
        asm.lea(dst, mem(src, -second.imm))
    elif second.opcode == Class.ALU64 | Alu.ADD | isa.REG and second.src != second.dst:
        asm.lea(dst, mem(src, 0, REGISTERS[second.src]))
    else:
        return False
    return True


#: Operation of a conditional jump but JSET → condition after `cmp dst, src`.
CONDITIONS = {
    isa.Jump.JEQ: Condition.EQUAL, isa.Jump.JNE: Condition.NOT_EQUAL,
    isa.Jump.JGT: Condition.ABOVE, isa.Jump.JGE: Condition.ABOVE_EQUAL,
    isa.Jump.JLT: Condition.BELOW, isa.Jump.JLE: Condition.BELOW_EQUAL,
    isa.Jump.JSGT: Condition.GREATER, isa.Jump.JSGE: Condition.GREATER_EQUAL,
    isa.Jump.JSLT: Condition.LESS, isa.Jump.JSLE: Condition.LESS_EQUAL,
}  # fmt: skip


def compare(asm: Assembler, one: Instruction) -> Condition:
    """The comparison of a conditional jump, and the condition under which it jumps."""
    size, operation = 8 if one.opcode & 7 == Class.JMP else 4, isa.Jump(one.opcode & 0xF0)
    dst = REGISTERS[one.dst].sized(size)
    right = REGISTERS[one.src].sized(size) if one.opcode & isa.REG else one.imm
    if operation == isa.Jump.JSET:
        asm.test(dst, right)
        return Condition.NOT_EQUAL
    if right == 0:
        asm.test(dst, dst)  # flags as of cmp with 0: no borrow, no overflow
    else:
        asm.cmp(dst, right)
    return CONDITIONS[operation]
