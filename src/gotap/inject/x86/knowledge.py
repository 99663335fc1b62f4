"""What is certain about registers and the stack of a BPF program at one of its instructions.

It is what lets calls be specialised (a lookup whose key was just stored, a read of 8 bytes), branches be left out, and
atomic operations go without a lock where no other thread can be.

A pointer to the program's own stack is always known for one, be its offset known or not, until one is stored to memory:
so what is written through other pointers leaves the stack alone. Subprograms can write to their caller's stack only
through pointers that they are given.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gotap.bpf import isa
from gotap.bpf.enums import MapType
from gotap.bpf.isa import Alu, Class, Helper, Instruction

_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1
_PER_CPU = (MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH)


class MapPlace(Struct, frozen=True):
    """Where a map lies, in the process in which the translated code will run.

    `descriptor`: address that stands for the map: what LD_IMM64 loads and helpers take; `values`: address of the first
    value, for maps whose values lie one behind the other: ARRAY, and PROG_ARRAY, whose values are addresses of
    programs' `TAIL_ENTRY`, 0 where there is none. `entries` and `stride` (bytes from one value to the next) allow
    lookups without a call; without them the helper is called. `helpers`: functions that stand for a helper where it is
    called with this very map, e.g. for keys of its length. `slots`: address of the first slot, if each slot has the
    value of its number, which lookups find whatever their key; 0: it is an array like others. `slot_size`: bytes, a
    power of two.
    """

    descriptor: int
    values: int = 0
    kind: MapType = MapType.HASH
    entries: int = 0
    stride: int = 0
    helpers: Mapping[Helper, int] = {}
    slots: int = 0
    slot_size: int = 0

    @property
    def per_cpu(self) -> bool:
        """Whether lookups find the values of this thread's stripe."""
        return self.kind in _PER_CPU


class StackPointer(Struct, frozen=True):
    """R10 + offset; None: somewhere on this function's stack, or perhaps not even that."""

    offset: int | None


class MapPointer(Struct, frozen=True):
    """What LD_IMM64 of a map loads."""

    place: MapPlace


class ValuePointer(Struct, frozen=True):
    """Into a value that a lookup found; or 0."""

    place: MapPlace


class ContextPointer(Struct, frozen=True):
    """Into the context."""


#: What a register or eight bytes of the stack hold; None: something else. Numbers are unsigned, 64 bits.
Value = int | StackPointer | MapPointer | ValuePointer | ContextPointer | None

#: What a helper writes: through the pointer in this register, as many bytes as that register says.
_WRITES = {
    Helper.PROBE_READ: (1, 2), Helper.PROBE_READ_USER: (1, 2), Helper.PROBE_READ_KERNEL: (1, 2),
    Helper.PROBE_READ_USER_STR: (1, 2), Helper.PROBE_READ_KERNEL_STR: (1, 2), Helper.COPY_FROM_USER: (1, 2),
    Helper.GET_CURRENT_COMM: (1, 2), Helper.GET_NS_CURRENT_PID_TGID: (3, 4), Helper.GET_STACK: (2, 3),
}  # fmt: skip


class Knowledge:
    """Registers by number; what was stored to the stack, by offset from R10: size and value.

    `escaped`: a pointer to the stack was stored somewhere.
    """

    __slots__ = ("escaped", "registers", "stack")

    def __init__(self, *, main: bool) -> None:
        self.registers: list[Value] = [*(None for _ in range(10)), StackPointer(0)]
        if main:
            self.registers[1] = ContextPointer()
        self.stack: dict[int, tuple[int, Value]] = {}
        self.escaped = False

    def copy(self) -> Knowledge:
        other = Knowledge.__new__(Knowledge)
        other.registers, other.stack, other.escaped = list(self.registers), dict(self.stack), self.escaped
        return other

    def join(self, other: Knowledge) -> bool:
        """Keeps what holds in both; False: that is all it knew."""
        changed = other.escaped and not self.escaped
        self.escaped = self.escaped or other.escaped
        for number, (one, two) in enumerate(zip(self.registers, other.registers, strict=True)):
            if one != two:
                joined = _either(one, two)
                changed = changed or joined != one
                self.registers[number] = joined
        for place, entry in list(self.stack.items()):
            if other.stack.get(place) != entry:
                del self.stack[place]
                changed = True
        return changed

    # Reading

    def number_at(self, pointer: Value, size: int) -> int | None:
        """The number that lies there."""
        if not isinstance(pointer, StackPointer) or pointer.offset is None:
            return None
        stored, value = self.stack.get(pointer.offset, (0, None))
        return value & (1 << 8 * size) - 1 if stored >= size and isinstance(value, int) else None

    def _loaded(self, one: Instruction) -> Value:
        base, size = self.registers[one.src], isa.SIZE_BYTES[one.opcode & 0x18]
        if not isinstance(base, StackPointer):
            return None
        if base.offset is None:
            return StackPointer(None)
        stored, value = self.stack.get(base.offset + one.offset, (0, None))
        if stored != size or one.opcode & 0xE0 == isa.MODE_MEMSX:
            return None
        return value

    # Writing

    def note(self, one: Instruction) -> None:
        """The effect of an instruction that neither calls nor jumps, LD_IMM64 excepted."""
        group = one.opcode & 7
        if group in (Class.ALU, Class.ALU64):
            self.registers[one.dst] = self._result(one, wide=group == Class.ALU64)
        elif group == Class.LDX:
            self.registers[one.dst] = self._loaded(one)
        else:
            self._store(one)

    def _result(self, one: Instruction, *, wide: bool) -> Value:
        operation = one.opcode & 0xF0
        right: Value = self.registers[one.src] if one.opcode & isa.REG else one.imm & _M64
        left = self.registers[one.dst]
        if operation == Alu.MOV and one.offset == 0:
            if wide:
                return right
            return right & _M32 if isinstance(right, int) else None
        if not wide or operation not in (Alu.ADD, Alu.SUB):
            return StackPointer(None) if isinstance(left, StackPointer) else None
        if operation == Alu.ADD and not isinstance(right, int | None):
            left, right = right, left
        if isinstance(left, StackPointer):
            if left.offset is None or not isinstance(right, int):
                return StackPointer(None)
            return StackPointer(left.offset + isa.signed64(right if operation == Alu.ADD else -right))
        if isinstance(left, int) and isinstance(right, int):
            return (left + right if operation == Alu.ADD else left - right) & _M64
        return left if isinstance(left, ValuePointer | ContextPointer) else None

    def _store(self, one: Instruction) -> None:
        base, size = self.registers[one.dst], isa.SIZE_BYTES[one.opcode & 0x18]
        if one.opcode & 0xE0 == isa.MODE_ATOMIC:
            self._written(base, one.offset, size)
            fetched = 0 if one.imm == isa.Atomic.CMPXCHG else one.src if one.imm & isa.Atomic.FETCH else None
            if fetched is not None:
                self.registers[fetched] = None
            return
        self._written(base, one.offset, size)
        value: Value = one.imm & _M64 if one.opcode & 7 == Class.ST else self.registers[one.src]
        self.escaped = self.escaped or isinstance(value, StackPointer)
        if not isinstance(base, StackPointer) or base.offset is None or value is None:
            return
        if isinstance(value, int):
            self.stack[base.offset + one.offset] = size, value & (1 << 8 * size) - 1
        elif size == 8:
            self.stack[base.offset + one.offset] = size, value

    def _written(self, base: Value, offset: int, size: int | None) -> None:
        """`size` bytes at base + offset are not known any more; None: nor how many."""
        if not isinstance(base, StackPointer):
            if base is None and self.escaped:
                self.stack.clear()
            return
        if base.offset is None or size is None:
            self.stack.clear()
            return
        start = base.offset + offset
        for at in [at for at, (length, _) in self.stack.items() if at < start + size and start < at + length]:
            del self.stack[at]

    def called(self, helper: Helper | None) -> None:
        """After a call of this helper; None: of a subprogram."""
        if helper in _WRITES:
            pointer, length = (self.registers[number] for number in _WRITES[helper])
            self._written(pointer, 0, length & _M32 if isinstance(length, int) else None)
        elif helper is None or helper == Helper.LOOP:
            for value in self.registers[1:6]:
                self._written(value, 0, None)
        self.registers[:6] = [None] * 6


def _either(one: Value, two: Value) -> Value:
    """What holds of both."""
    if one == two:
        return one
    return StackPointer(None) if isinstance(one, StackPointer) or isinstance(two, StackPointer) else None
