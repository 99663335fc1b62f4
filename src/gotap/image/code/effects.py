"""What one instruction does to the words that are followed: exact copies, and everything that may change."""

from __future__ import annotations

from typing import NamedTuple

from iced_x86 import (
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    MemorySizeExt,
    Mnemonic,
    OpAccess,
    OpKind,
    Register,
    RegisterExt,
)
from msgspec import Struct

RSP, RBP, RIP, R14, NONE = Register.RSP, Register.RBP, Register.RIP, Register.R14, Register.NONE
WORD_MASK = (1 << 64) - 1
CALLS = frozenset((FlowControl.CALL, FlowControl.INDIRECT_CALL))

GPR_NAMES: dict[int, str] = {
    Register.RAX: "rax", Register.RBX: "rbx", Register.RCX: "rcx", Register.RDX: "rdx",
    Register.RSI: "rsi", Register.RDI: "rdi", Register.RBP: "rbp", Register.RSP: "rsp",
    Register.R8: "r8", Register.R9: "r9", Register.R10: "r10", Register.R11: "r11",
    Register.R12: "r12", Register.R13: "r13", Register.R14: "r14", Register.R15: "r15",
}  # fmt: skip
REGISTER_NAMES: dict[int, str] = GPR_NAMES | {Register.ZMM0 + i: f"xmm{i}" for i in range(32)}
REGISTER_NUMBERS: dict[str, int] = {name: number for number, name in REGISTER_NAMES.items()}


class Reg(NamedTuple):
    """The low `size` bytes of a full register."""

    number: int
    size: int


class Mem(NamedTuple):
    """Memory at base + offset. `plain`: base register and displacement alone, no index, no segment."""

    base: int
    offset: int
    size: int
    plain: bool

    @property
    def on_stack(self) -> bool:
        return self.plain and self.base == RSP

    @property
    def static(self) -> bool:
        return self.base == RIP  # then `offset` is the address


class Imm(NamedTuple):
    value: int


class Addr(NamedTuple):
    """A static address (`lea x(rip), r`)."""

    value: int


Value = Reg | Mem | Imm | Addr


class Copy(NamedTuple):
    """`target` receives `source`, zero-extended to the word where it is a register."""

    target: Reg | Mem
    source: Value


class Effect(Struct, frozen=True):
    """Operands are evaluated before the instruction; offsets of stack memory are relative to RSP before it.

    `copy` is set when the instruction is exactly that copy, besides moving RSP by `sp_change` (None: unknown).
    `written` and `stores` name all that may change, the copy's target included. `loads`: memory read.
    `opaque`: more may happen than said here (calls, system calls, string instructions, divisions that trap).
    """

    copy: Copy | None
    written: frozenset[int]
    stores: tuple[Mem, ...]
    loads: tuple[Mem, ...]
    sp_change: int | None = 0
    opaque: bool = False

    @property
    def may_fault(self) -> bool:
        """Whether memory is touched that is neither stack, nor static, nor g's."""
        for memory in self.stores + self.loads:
            if not (memory.static or (memory.plain and memory.base in (RSP, R14))):
                return True
        return False


_MOVES = frozenset((Mnemonic.MOV, Mnemonic.MOVZX))
_TRAPPING = frozenset((Mnemonic.DIV, Mnemonic.IDIV, Mnemonic.INT, Mnemonic.INT3, Mnemonic.UD2, Mnemonic.HLT))
_WRITES = frozenset((OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE))
_READS = frozenset((OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE))
_FACTORY = InstructionInfoFactory()
_NOTHING = Effect(None, frozenset(), (), ())


def effect_of(instruction: Instruction) -> Effect:
    if instruction.mnemonic == Mnemonic.NOP:
        return _NOTHING
    info = _FACTORY.info(instruction)
    written = frozenset(
        RegisterExt.full_register(used.register) for used in info.used_registers() if used.access in _WRITES
    )
    stores: list[Mem] = []
    loads: list[Mem] = []
    for used in info.used_memory():
        size = MemorySizeExt.size(used.memory_size)
        memory = _memory(used.base, used.index, used.segment, used.displacement_i64, size)
        if used.base == NONE and instruction.is_ip_rel_memory_operand:
            memory = Mem(RIP, instruction.ip_rel_memory_address, size, True)
        if used.access in _WRITES:
            stores.append(memory)
        if used.access in _READS:
            loads.append(memory)
    copy = _copy(instruction)
    return Effect(
        copy,
        written,
        tuple(stores),
        tuple(loads),
        sp_change(instruction) if RSP in written else 0,
        _is_opaque(instruction),
    )


def combines(instruction: Instruction) -> bool:
    """Whether a general register is computed from two different ones; comparisons do not count."""
    if instruction.op0_kind != OpKind.REGISTER or not RegisterExt.is_gpr(instruction.op0_register):
        return False
    read = {
        RegisterExt.full_register(used.register)
        for used in _FACTORY.info(instruction).used_registers()
        if used.access in _READS and RegisterExt.is_gpr(used.register)
    }
    compares = instruction.mnemonic in (Mnemonic.CMP, Mnemonic.TEST, Mnemonic.BT)
    return not compares and len(read - {RSP, Register.RBP}) > 1


def sp_change(instruction: Instruction) -> int | None:
    """Bytes by which the instruction moves RSP; None when that is not a constant. A call counts as balanced."""
    if instruction.flow_control in CALLS:
        return 0
    if instruction.op0_kind == OpKind.REGISTER and instruction.op0_register == RSP:
        mnemonic = instruction.mnemonic
        if mnemonic in (Mnemonic.CMP, Mnemonic.TEST, Mnemonic.PUSH):
            return -8 if mnemonic == Mnemonic.PUSH else 0
        if mnemonic == Mnemonic.LEA and instruction.memory_base == RSP and instruction.memory_index == NONE:
            return _signed(instruction.memory_displacement)
        if mnemonic in (Mnemonic.ADD, Mnemonic.SUB) and instruction.op1_kind in _IMMEDIATES:
            amount = _signed(instruction.immediate(1))
            return amount if mnemonic == Mnemonic.ADD else -amount
        return None
    if instruction.mnemonic in (Mnemonic.ENTER, Mnemonic.LEAVE, Mnemonic.IRETQ):
        return None
    return instruction.stack_pointer_increment if instruction.is_stack_instruction else 0


_IMMEDIATES = frozenset(
    (
        OpKind.IMMEDIATE8,
        OpKind.IMMEDIATE16,
        OpKind.IMMEDIATE32,
        OpKind.IMMEDIATE64,
        OpKind.IMMEDIATE8TO16,
        OpKind.IMMEDIATE8TO32,
        OpKind.IMMEDIATE8TO64,
        OpKind.IMMEDIATE32TO64,
    )
)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _memory(base: int, index: int, segment: int, offset: int, size: int) -> Mem:
    plain = index == NONE and base != NONE and segment not in (Register.FS, Register.GS)
    return Mem(base, offset, size, plain)


def _copy(instruction: Instruction) -> Copy | None:
    mnemonic = instruction.mnemonic
    if mnemonic in _MOVES:
        return _move(instruction)
    if mnemonic == Mnemonic.MOVUPS and instruction.op0_kind == OpKind.MEMORY:
        # X15 is zero in ABIInternal code (cmd/compile/abi-internal.md): the compiler zeroes two words with it.
        zero = instruction.op1_register == Register.XMM15
        return Copy(_operand_memory(instruction, 16), Imm(0)) if zero else None
    if mnemonic == Mnemonic.LEA:
        target = Reg(RegisterExt.full_register(instruction.op0_register), 8)
        wide = RegisterExt.size(instruction.op0_register) == 8
        return (
            Copy(target, Addr(instruction.ip_rel_memory_address))
            if wide and instruction.is_ip_rel_memory_operand
            else None
        )
    if mnemonic in (Mnemonic.XOR, Mnemonic.SUB) and instruction.op0_kind == instruction.op1_kind == OpKind.REGISTER:
        register = instruction.op0_register
        if register == instruction.op1_register and RegisterExt.size(register) >= 4 and RegisterExt.is_gpr(register):
            return Copy(Reg(RegisterExt.full_register(register), 8), Imm(0))
        return None
    if (
        mnemonic == Mnemonic.PUSH
        and instruction.op0_kind == OpKind.REGISTER
        and RegisterExt.is_gpr64(instruction.op0_register)
    ):
        return Copy(Mem(RSP, -8, 8, True), Reg(instruction.op0_register, 8))
    if (
        mnemonic == Mnemonic.POP
        and instruction.op0_kind == OpKind.REGISTER
        and RegisterExt.is_gpr64(instruction.op0_register)
    ):
        return Copy(Reg(instruction.op0_register, 8), Mem(RSP, 0, 8, True))
    return None


def _move(instruction: Instruction) -> Copy | None:
    source: Value | None
    if instruction.op0_kind == OpKind.REGISTER:
        size = RegisterExt.size(instruction.op0_register)
        if size < 4 or not RegisterExt.is_gpr(instruction.op0_register):
            return None  # the rest of the word stays, or a segment or control register
        source = _source(instruction, size)
        return Copy(Reg(RegisterExt.full_register(instruction.op0_register), 8), source) if source is not None else None
    if instruction.op0_kind == OpKind.MEMORY:
        size = MemorySizeExt.size(instruction.memory_size)
        source = _source(instruction, size)
        return Copy(_operand_memory(instruction, size), source) if source is not None else None
    return None


def _source(instruction: Instruction, size: int) -> Value | None:
    kind = instruction.op1_kind
    if kind == OpKind.REGISTER:
        register = instruction.op1_register
        if not RegisterExt.is_gpr(register) or register in (Register.AH, Register.BH, Register.CH, Register.DH):
            return None
        return Reg(RegisterExt.full_register(register), RegisterExt.size(register))
    if kind == OpKind.MEMORY:
        return _operand_memory(instruction, MemorySizeExt.size(instruction.memory_size))
    if kind in _IMMEDIATES:
        return Imm(instruction.immediate(1) & ((1 << 8 * size) - 1))
    return None


def _operand_memory(instruction: Instruction, size: int) -> Mem:
    if instruction.is_ip_rel_memory_operand:
        return Mem(RIP, instruction.ip_rel_memory_address, size, True)
    return _memory(
        instruction.memory_base,
        instruction.memory_index,
        instruction.memory_segment,
        _signed(instruction.memory_displacement),
        size,
    )


def _is_opaque(instruction: Instruction) -> bool:
    if instruction.flow_control not in (
        FlowControl.NEXT,
        FlowControl.CONDITIONAL_BRANCH,
        FlowControl.UNCONDITIONAL_BRANCH,
        FlowControl.RETURN,
    ):
        return True
    return (
        instruction.mnemonic in _TRAPPING
        or instruction.is_string_instruction
        or instruction.has_rep_prefix
        or instruction.is_privileged
    )
