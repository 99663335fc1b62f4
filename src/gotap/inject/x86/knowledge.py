"""What is certain about registers and the stack while a BPF program is read from top to bottom.

Within a basic block only: it is what lets calls be specialised (a lookup whose key was just stored, a read of 8 bytes).
"""

from __future__ import annotations

from msgspec import Struct

from gotap.bpf import isa
from gotap.bpf.enums import MapType
from gotap.bpf.isa import Alu, Class, Instruction

_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1


class MapPlace(Struct, frozen=True):
    """Where a map lies, in the process in which the translated code will run.

    `descriptor`: address that stands for the map: what LD_IMM64 loads and helpers take; `values`: address of the first
    value, for maps whose values lie one behind the other: ARRAY, and PROG_ARRAY, whose values are addresses of
    programs' `TAIL_ENTRY`, 0 where there is none. `entries` and `stride` (bytes from one value to the next) allow
    lookups without a call; without them the helper is called.
    """

    descriptor: int
    values: int = 0
    kind: MapType = MapType.HASH
    entries: int = 0
    stride: int = 0


class StackPointer(Struct, frozen=True):
    """R10 + offset."""

    offset: int


class MapPointer(Struct, frozen=True):
    """What LD_IMM64 of a map loads."""

    place: MapPlace


#: What a register holds; None: not known. Numbers are unsigned, 64 bits.
Value = int | StackPointer | MapPointer | None


class Knowledge:
    """Registers by number, and the constants that were stored to the stack, by their place."""

    def __init__(self) -> None:
        self.registers: list[Value] = [*(None for _ in range(10)), StackPointer(0)]
        self.stack: dict[int, tuple[int, int]] = {}  # offset → size, value

    def forget(self) -> None:
        """Control may come from elsewhere."""
        self.registers[:10] = [None] * 10
        self.stack.clear()

    def called(self) -> None:
        """A call may have written to any memory."""
        self.registers[:6] = [None] * 6
        self.stack.clear()

    def constant_at(self, pointer: Value, size: int) -> int | None:
        """The number that lies there, if it was stored as a whole."""
        if not isinstance(pointer, StackPointer):
            return None
        stored, value = self.stack.get(pointer.offset, (0, 0))
        return value & (1 << 8 * size) - 1 if stored >= size else None

    def load(self, register: int, value: Value) -> None:
        self.registers[register] = value

    def note(self, one: Instruction) -> None:
        """The effect of any instruction but calls, jumps and LD_IMM64."""
        group = one.opcode & 7
        if group in (Class.ALU, Class.ALU64):
            self.registers[one.dst] = self._result(one, wide=group == Class.ALU64)
        elif group == Class.LDX:
            self.registers[one.dst] = None
        elif group in (Class.ST, Class.STX):
            self._store(one)

    def _result(self, one: Instruction, *, wide: bool) -> Value:
        operation = one.opcode & 0xF0
        right: Value = self.registers[one.src] if one.opcode & isa.REG else one.imm & _M64
        if operation == Alu.MOV and one.offset == 0:
            if wide:
                return right
            return right & _M32 if isinstance(right, int) else None
        left = self.registers[one.dst]
        if operation in (Alu.ADD, Alu.SUB) and wide and isinstance(right, int):
            amount = isa.signed64(right if operation == Alu.ADD else -right)
            if isinstance(left, StackPointer):
                return StackPointer(left.offset + amount)
            if isinstance(left, int):
                return left + amount & _M64
        return None

    def _store(self, one: Instruction) -> None:
        base, size = self.registers[one.dst], isa.SIZE_BYTES[one.opcode & 0x18]
        if one.opcode & 0xE0 == isa.MODE_ATOMIC:
            self.stack.clear()
            fetched = 0 if one.imm == isa.Atomic.CMPXCHG else one.src if one.imm & isa.Atomic.FETCH else None
            if fetched is not None:
                self.registers[fetched] = None
            return
        if not isinstance(base, StackPointer):
            if not isinstance(base, MapPointer):
                self.stack.clear()  # it may point to the stack
            return
        start = base.offset + one.offset
        for other in [at for at, (length, _) in self.stack.items() if at < start + size and start < at + length]:
            del self.stack[other]
        value: Value = one.imm & _M64 if one.opcode & 7 == Class.ST else self.registers[one.src]
        if isinstance(value, int):
            self.stack[start] = size, value & (1 << 8 * size) - 1
