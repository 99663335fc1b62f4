"""An assembler for BPF: labels, maps by name, one readable method per instruction.

    asm = Assembler()
    asm.mov(R6, R1)
    asm.load(R1, R6, PT_REGS["rax"])
    asm.jeq(R1, 0, "nothing")
    …
    asm.label("nothing")
    asm.mov(R0, 0)
    asm.exit_()
    code = asm.finish()
    program = Program.load(code.bytes({"frames": frames.fd}), subprograms=code.subprograms, …)

Operations work on all 64 bits; those that end in 32 work on the lower half and clear the upper one. An operand that may
be a register or an immediate is `Reg | int`; immediates are 32 bits wide and sign-extended.
"""

from __future__ import annotations

import itertools

from gotap.bpf import isa
from gotap.bpf.code import AssemblerError, Code, Relocation
from gotap.bpf.isa import (
    PT_REGS,
    PT_REGS_SIZE,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
    Alu,
    Atomic,
    Class,
    Helper,
    Instruction,
    Jump,
    Reg,
    RingFlags,
)

__all__ = [
    "PT_REGS", "PT_REGS_SIZE", "R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10",
    "Assembler", "AssemblerError", "Code", "Helper", "Reg", "Relocation", "RingFlags",
]  # fmt: skip

Operand = Reg | int


class Assembler:
    """Collects instructions; `finish` resolves labels. A label may be used before it is placed.

    Scripts assemble thousands of programs: a register's number is read as `_value_`, without the property of Enum.
    """

    def __init__(self) -> None:
        self._instructions: list[Instruction] = []
        self._relocations: list[Relocation] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []  # the offset counts instructions
        self._calls: list[tuple[int, str]] = []  # the immediate counts instructions
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        """Slots so far."""
        return len(self._instructions)

    def label(self, name: str) -> None:
        """Places a label here."""
        if name in self._labels:
            raise AssemblerError(f"label {name} is placed twice")
        self._labels[name] = len(self._instructions)

    def new_label(self, prefix: str = "L") -> str:
        """A name no one else has; place it with `label`."""
        return f"{prefix}.{next(self._numbers)}"

    @property
    def jumps(self) -> int:
        """How many there are so far."""
        return len(self._jumps)

    def calls(self, label: str) -> int:
        """How many calls of that subprogram there are so far."""
        return sum(name == label for _, name in self._calls)

    def wanted(self, label: str) -> bool:
        """Whether anything so far jumps there: what nothing leads to the verifier refuses."""
        return any(name == label for _, name in self._jumps)

    def finish(self) -> Code:
        """AssemblerError: a label that is not placed, a jump of more than 32767 instructions."""
        instructions = list(self._instructions)
        for index, label in self._jumps:
            distance = self._target(label) - index - 1
            if not -0x8000 <= distance <= 0x7FFF:
                raise AssemblerError(f"the jump from {index} to {label} spans {distance} instructions, 32767 at most",
                                     "probe fewer values in one program")
            old = instructions[index]
            instructions[index] = Instruction(old.opcode, old.dst, old.src, distance, old.imm)
        for index, label in self._calls:
            old = instructions[index]
            instructions[index] = Instruction(old.opcode, old.dst, old.src, old.offset, self._target(label) - index - 1)
        functions = {label for _, label in self._calls}
        labels = sorted((index, label) for label, index in self._labels.items())
        subprograms = tuple((index, label) for index, label in labels if label in functions)
        if len({index for index, _ in subprograms}) < len(subprograms):
            raise AssemblerError("two subprograms share their first instruction")
        return Code(tuple(instructions), tuple(self._relocations), subprograms, tuple(labels))

    def _target(self, label: str) -> int:
        try:
            return self._labels[label]
        except KeyError:
            raise AssemblerError(f"label {label} is used and not placed") from None

    def _emit(self, opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> None:
        if not -0x8000 <= offset <= 0x7FFF:
            raise AssemblerError(f"offset {offset} does not fit in 16 bits")
        self._instructions.append(Instruction(opcode, dst, src, offset, imm))

    def _operation(self, opcode: int, dst: Reg, src: Operand, offset: int = 0) -> None:
        if isinstance(src, Reg):
            self._emit(opcode | isa.REG, dst._value_, src._value_, offset)
        else:
            if not -0x80000000 <= src <= 0xFFFFFFFF:
                raise AssemblerError(f"immediate {src:#x} does not fit in 32 bits", "load it with ld_imm64")
            if src > 0x7FFFFFFF and opcode & 7 in (Class.ALU64, Class.JMP):
                raise AssemblerError(f"immediate {src:#x} would be sign-extended", "load it with ld_imm64")
            self._emit(opcode | isa.IMM, dst._value_, 0, offset, isa.signed32(src))

    def _jump(self, opcode: int, dst: Reg, src: Operand, label: str) -> None:
        self._jumps.append((len(self._instructions), label))
        self._operation(opcode, dst, src)

    # Arithmetic
    def mov(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.MOV, dst, src)

    def mov32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.MOV, dst, src)

    def add(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.ADD, dst, src)

    def add32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.ADD, dst, src)

    def sub(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.SUB, dst, src)

    def sub32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.SUB, dst, src)

    def mul(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.MUL, dst, src)

    def mul32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.MUL, dst, src)

    def div(self, dst: Reg, src: Operand) -> None:
        """Unsigned; by zero gives 0."""
        self._operation(Class.ALU64 | Alu.DIV, dst, src)

    def div32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.DIV, dst, src)

    def mod(self, dst: Reg, src: Operand) -> None:
        """Unsigned; by zero leaves dst (32: its lower half)."""
        self._operation(Class.ALU64 | Alu.MOD, dst, src)

    def mod32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.MOD, dst, src)

    def and_(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.AND, dst, src)

    def and32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.AND, dst, src)

    def or_(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.OR, dst, src)

    def or32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.OR, dst, src)

    def xor(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.XOR, dst, src)

    def xor32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.XOR, dst, src)

    def lsh(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.LSH, dst, src)

    def lsh32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.LSH, dst, src)

    def rsh(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU64 | Alu.RSH, dst, src)

    def rsh32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.RSH, dst, src)

    def arsh(self, dst: Reg, src: Operand) -> None:
        """Shift right, keeping the sign."""
        self._operation(Class.ALU64 | Alu.ARSH, dst, src)

    def arsh32(self, dst: Reg, src: Operand) -> None:
        self._operation(Class.ALU | Alu.ARSH, dst, src)

    def sdiv(self, dst: Reg, src: Operand) -> None:
        """Signed (Linux 6.6)."""
        self._operation(Class.ALU64 | Alu.DIV, dst, src, 1)

    def smod(self, dst: Reg, src: Operand) -> None:
        """Signed (Linux 6.6)."""
        self._operation(Class.ALU64 | Alu.MOD, dst, src, 1)

    def neg(self, dst: Reg) -> None:
        self._emit(Class.ALU64 | Alu.NEG, dst._value_)

    def neg32(self, dst: Reg) -> None:
        self._emit(Class.ALU | Alu.NEG, dst._value_)

    def movsx(self, dst: Reg, src: Reg, bits: int) -> None:
        """Sign-extends the lower 8, 16 or 32 bits (Linux 6.6)."""
        self._emit(Class.ALU64 | Alu.MOV | isa.REG, dst._value_, src._value_, bits)

    def sign_extend(self, dst: Reg, bits: int) -> None:
        """Sign-extends the lower `bits` in place, on any kernel."""
        self.lsh(dst, 64 - bits)
        self.arsh(dst, 64 - bits)

    def to_be(self, dst: Reg, bits: int) -> None:
        """Host to big endian, 16, 32 or 64 bits; the rest is cleared."""
        self._emit(Class.ALU | Alu.END | isa.REG, dst._value_, imm=bits)

    def to_le(self, dst: Reg, bits: int) -> None:
        """Host to little endian; on x86-64 it only clears the upper bits."""
        self._emit(Class.ALU | Alu.END, dst._value_, imm=bits)

    def bswap(self, dst: Reg, bits: int) -> None:
        """Swaps unconditionally (Linux 6.6)."""
        self._emit(Class.ALU64 | Alu.END, dst._value_, imm=bits)

    # Jumps: `jlt(a, b, there)` goes there when a < b

    def jump(self, label: str) -> None:
        self._jumps.append((len(self._instructions), label))
        self._emit(Class.JMP | Jump.JA)

    def jeq(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JEQ, dst, src, label)

    def jeq32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JEQ, dst, src, label)

    def jne(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JNE, dst, src, label)

    def jne32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JNE, dst, src, label)

    def jgt(self, dst: Reg, src: Operand, label: str) -> None:
        """Unsigned, as jge, jlt and jle."""
        self._jump(Class.JMP | Jump.JGT, dst, src, label)

    def jgt32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JGT, dst, src, label)

    def jge(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JGE, dst, src, label)

    def jge32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JGE, dst, src, label)

    def jlt(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JLT, dst, src, label)

    def jlt32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JLT, dst, src, label)

    def jle(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JLE, dst, src, label)

    def jle32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JLE, dst, src, label)

    def jset(self, dst: Reg, src: Operand, label: str) -> None:
        """When dst & src is not zero."""
        self._jump(Class.JMP | Jump.JSET, dst, src, label)

    def jset32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JSET, dst, src, label)

    def jsgt(self, dst: Reg, src: Operand, label: str) -> None:
        """Signed, as all that start with js."""
        self._jump(Class.JMP | Jump.JSGT, dst, src, label)

    def jsgt32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JSGT, dst, src, label)

    def jsge(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JSGE, dst, src, label)

    def jsge32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JSGE, dst, src, label)

    def jslt(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JSLT, dst, src, label)

    def jslt32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JSLT, dst, src, label)

    def jsle(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP | Jump.JSLE, dst, src, label)

    def jsle32(self, dst: Reg, src: Operand, label: str) -> None:
        self._jump(Class.JMP32 | Jump.JSLE, dst, src, label)

    # Memory

    def load(self, dst: Reg, base: Reg, offset: int = 0, size: int = 8) -> None:
        """dst = zero-extended *(size bytes at base + offset)."""
        self._emit(Class.LDX | isa.MODE_MEM | isa.SIZE_BITS[size], dst._value_, base._value_, offset)

    def load_signed(self, dst: Reg, base: Reg, offset: int, size: int) -> None:
        """Sign-extended, 1, 2 or 4 bytes (Linux 6.6)."""
        self._emit(Class.LDX | isa.MODE_MEMSX | isa.SIZE_BITS[size], dst._value_, base._value_, offset)

    def store(self, base: Reg, offset: int, src: Operand, size: int = 8) -> None:
        """*(size bytes at base + offset) = src; an immediate of 8 bytes is sign-extended from 32 bits."""
        if isinstance(src, Reg):
            self._emit(Class.STX | isa.MODE_MEM | isa.SIZE_BITS[size], base._value_, src._value_, offset)
            return
        low, high = (-0x80000000, 0x7FFFFFFF) if size == 8 else (-(1 << 8 * size - 1), (1 << 8 * size) - 1)
        if not low <= src <= high:
            raise AssemblerError(f"immediate {src:#x} does not fit in a store of {size} bytes", "load it with ld_imm64")
        self._emit(Class.ST | isa.MODE_MEM | isa.SIZE_BITS[size], base._value_, 0, offset, isa.signed32(src))

    def _atomic(self, operation: int, base: Reg, offset: int, src: Reg, size: int) -> None:
        if size not in (4, 8):
            raise AssemblerError(f"there are no atomic operations on {size} bytes")
        self._emit(Class.STX | isa.MODE_ATOMIC | isa.SIZE_BITS[size], base._value_, src._value_, offset, operation)

    def atomic_add(self, base: Reg, offset: int, src: Reg, size: int = 8, *, fetch: bool = False) -> None:
        """`fetch`: src receives the old value (Linux 5.12)."""
        self._atomic(Atomic.ADD | (Atomic.FETCH if fetch else 0), base, offset, src, size)

    def atomic_or(self, base: Reg, offset: int, src: Reg, size: int = 8, *, fetch: bool = False) -> None:
        self._atomic(Atomic.OR | (Atomic.FETCH if fetch else 0), base, offset, src, size)

    def atomic_and(self, base: Reg, offset: int, src: Reg, size: int = 8, *, fetch: bool = False) -> None:
        self._atomic(Atomic.AND | (Atomic.FETCH if fetch else 0), base, offset, src, size)

    def atomic_xor(self, base: Reg, offset: int, src: Reg, size: int = 8, *, fetch: bool = False) -> None:
        self._atomic(Atomic.XOR | (Atomic.FETCH if fetch else 0), base, offset, src, size)

    def atomic_xchg(self, base: Reg, offset: int, src: Reg, size: int = 8) -> None:
        """src receives the old value (Linux 5.12)."""
        self._atomic(Atomic.XCHG, base, offset, src, size)

    def atomic_cmpxchg(self, base: Reg, offset: int, src: Reg, size: int = 8) -> None:
        """Stores src if the value equals R0; R0 receives the old value (Linux 5.12)."""
        self._atomic(Atomic.CMPXCHG, base, offset, src, size)

    # Two-slot loads

    def _ld64(self, dst: Reg, src: int, low: int, high: int = 0) -> None:
        self._emit(isa.LD_IMM64, dst._value_, src, 0, isa.signed32(low))
        self._emit(0, imm=isa.signed32(high))

    def ld_imm64(self, dst: Reg, value: int) -> None:
        """Any 64-bit constant, signed or unsigned."""
        if not -(1 << 63) <= value < 1 << 64:
            raise AssemblerError(f"constant {value:#x} does not fit in 64 bits")
        self._ld64(dst, 0, value, value >> 32)

    def constant(self, dst: Reg, value: int) -> None:
        """The shortest way to a 64-bit constant: one slot when it fits."""
        signed = isa.signed64(value)
        if -0x80000000 <= signed <= 0x7FFFFFFF:
            self.mov(dst, signed)
        elif 0 <= signed <= 0xFFFFFFFF:
            self.mov32(dst, signed)
        else:
            self.ld_imm64(dst, value)

    def ld_map(self, dst: Reg, name: str) -> None:
        """A map, as helpers take it."""
        self._relocations.append(Relocation(len(self._instructions), name))
        self._ld64(dst, isa.PSEUDO_MAP_FD, 0)

    def ld_map_value(self, dst: Reg, name: str, offset: int = 0) -> None:
        """Address of `offset` bytes into the one value of an array map with a single entry: no lookup (Linux 5.2)."""
        self._relocations.append(Relocation(len(self._instructions), name, offset))
        self._ld64(dst, isa.PSEUDO_MAP_VALUE, 0, offset)

    def ld_func(self, dst: Reg, label: str) -> None:
        """Address of a subprogram, for helpers with callbacks (Linux 5.13)."""
        self._calls.append((len(self._instructions), label))
        self._ld64(dst, isa.PSEUDO_FUNC, 0)

    # Calls

    def call(self, helper: Helper) -> None:
        """Arguments in R1–R5, which are lost; the result in R0."""
        self._emit(Class.JMP | Jump.CALL, imm=helper)

    def call_subprogram(self, label: str) -> None:
        """Calls the function at `label`: arguments in R1–R5, R6–R9 kept, a stack of its own (512 bytes in all)."""
        self._calls.append((len(self._instructions), label))
        self._emit(Class.JMP | Jump.CALL, src=isa.PSEUDO_CALL)

    def exit_(self) -> None:
        """Returns R0."""
        self._emit(Class.JMP | Jump.EXIT)
