"""Reads a BPF program before it is translated: what of it is reached, how branches go, what calls are given."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from gotap.bpf import isa
from gotap.bpf.code import Code, Relocation
from gotap.bpf.isa import Class, Helper, Instruction, Jump
from gotap.inject.x86.calls import Call, Untranslatable, element, is_array
from gotap.inject.x86.knowledge import Knowledge, MapPlace, MapPointer, StackPointer, Value, ValuePointer

CALL, EXIT, JA = Class.JMP | Jump.CALL, Class.JMP | Jump.EXIT, Class.JMP | Jump.JA
_GOTOL = Class.JMP32 | Jump.JA
#: Opcodes of jumps.
JUMPS = frozenset(opcode for opcode in range(256) if opcode & 7 in (Class.JMP, Class.JMP32)) - {CALL, EXIT}
#: Opcodes of atomic operations.
READS = (Helper.PROBE_READ_USER, Helper.PROBE_READ_KERNEL, Helper.PROBE_READ)
ATOMICS = frozenset(Class.STX | isa.MODE_ATOMIC | size for size in isa.SIZE_BYTES)


class Function(Struct, frozen=True):
    """Instructions [start, end) of a program or subprogram, as far as they are reached."""

    start: int
    end: int
    main: bool


class Reading(Struct, frozen=True):
    """What `read` finds, by indexes of instructions.

    `reached`, `targets`: those that may run, those that are jumped to; `always`: conditional jumps that are always or
    never taken; `calls`: of helpers; `own`: atomic operations on memory that only this thread writes to, surely (True)
    or if its per-CPU values are its own (False).
    """

    functions: tuple[Function, ...]
    reached: Collection[int]
    targets: Collection[int]
    always: Mapping[int, bool]
    calls: Mapping[int, Call]
    own: Mapping[int, bool]


def helper(one: Instruction) -> Helper:
    """Untranslatable: gotap has no name for it."""
    try:
        return Helper(one.imm)
    except ValueError:
        raise Untranslatable(None, f"the program calls function {one.imm} of the kernel, unknown to gotap") from None


def is_helper(one: Instruction) -> bool:
    return one.opcode == CALL and one.src == 0


def target(index: int, one: Instruction) -> int:
    """Where a jump goes."""
    return index + 1 + (one.imm if one.opcode == _GOTOL else one.offset)


def callee(index: int, one: Instruction) -> int | None:
    """First instruction of the subprogram that is called, or whose address is loaded."""
    if (one.opcode == CALL and one.src == isa.PSEUDO_CALL) or (
        one.opcode == isa.LD_IMM64 and one.src == isa.PSEUDO_FUNC
    ):
        return index + 1 + one.imm
    return None


def place_of(relocation: Relocation, maps: Mapping[str, MapPlace]) -> MapPlace:
    try:
        return maps[relocation.map]
    except KeyError:
        raise Untranslatable(None, f"the program uses a map that it was not given: {relocation.map}") from None


def read(code: Code, maps: Mapping[str, MapPlace]) -> Reading:
    """Untranslatable: it runs out of its instructions, or uses a map or a helper that nobody knows."""
    reader = _Reader(code, maps)
    reader.read()
    return reader.reading()


class _Reader:
    """Goes through the program along its branches until nothing new is learnt (sparse conditional constant
    propagation): a block is run with what is known at its start, and again whenever that has become less. What its last
    run found holds.
    """

    def __init__(self, code: Code, maps: Mapping[str, MapPlace]) -> None:
        self.instructions, self.maps = code.instructions, maps
        self.relocations = {one.index: one for one in code.relocations}
        self.starts = [0, *(index for index, _ in code.subprograms)]
        self.leaders = {target(index, one) for index, one in enumerate(code.instructions) if one.opcode in JUMPS}
        self.known: dict[int, Knowledge] = {0: Knowledge(main=True)}  # at the start of blocks
        self.waiting = [0]
        self.reached: set[int] = set()
        self.jumps: dict[int, bool | None] = {}  # how they go, None: either way
        self.calls: dict[int, Call] = {}
        self.own: dict[int, bool | None] = {}
        self.looked_at = dict.fromkeys(self.starts, 0)  # by function: bytes of its stack that may be read
        self.function = 0

    def read(self) -> None:
        while self.waiting:
            start = self.waiting.pop()
            self.function = self.starts[bisect_right(self.starts, start) - 1]
            self._block(start, self.known[start].copy())

    def reading(self) -> Reading:
        ends = [*self.starts[1:], len(self.instructions)]
        functions = tuple(Function(start, end, start == 0) for start, end in zip(self.starts, ends, strict=True)
                          if start in self.known)  # fmt: skip
        targets = {target(index, self.instructions[index]) for index, holds in self.jumps.items() if holds is not False}
        always = {index: holds for index, holds in self.jumps.items() if holds is not None}
        own = {index: surely for index, surely in self.own.items() if surely is not None}
        calls = {index: self._with_wanted(index, call) for index, call in self.calls.items()}
        return Reading(functions, self.reached, targets, always, calls, own)

    def _with_wanted(self, index: int, call: Call) -> Call:
        place, size = call.arguments[0], call.number(2)
        if call.helper not in READS or not isinstance(place, StackPointer) or place.offset is None or size is None:
            return call
        looked_at = self.looked_at[self.starts[bisect_right(self.starts, index) - 1]]
        start = isa.STACK_SIZE + place.offset
        return replace(call, wanted=looked_at >> start & (1 << size) - 1) if start >= 0 else call

    def _block(self, index: int, known: Knowledge) -> None:
        """From `index` to the next jump, or where another block begins."""
        instructions, leaders, reached = self.instructions, self.leaders, self.reached
        while True:
            if not 0 <= index < len(instructions):
                raise Untranslatable(None, f"the program runs out of its instructions at {index}")
            one = instructions[index]
            opcode = one.opcode
            reached.add(index)
            if opcode in JUMPS:
                self._jump(index, one, known)
                return
            if opcode == EXIT:
                return
            if opcode == isa.LD_IMM64:
                known.registers[one.dst] = self._constant(index, one)
                index += 1
            elif opcode == CALL:
                self._call(index, one, known)
            else:
                if opcode in ATOMICS:
                    self.own[index] = _own(known.registers[one.dst])
                self._note_looks(one, known)
                known.note(one)
            index += 1
            if index in leaders:
                self._enter(index, known)
                return

    def _jump(self, index: int, one: Instruction, known: Knowledge) -> None:
        holds = self.jumps[index] = _holds(one, known)
        if holds is not False:
            self._enter(target(index, one), known)
        if holds is not True:
            self._enter(index + 1, known)

    def _enter(self, index: int, known: Knowledge) -> None:
        """Control may come to this block with that knowledge."""
        there = self.known.get(index)
        if there is None:
            self.known[index] = known.copy()
        elif not there.join(known):
            return
        self.waiting.append(index)

    def _enter_function(self, index: int) -> None:
        if index not in self.known:
            self.known[index] = Knowledge(main=False)
            self.waiting.append(index)

    def _constant(self, index: int, one: Instruction) -> Value:
        relocation = self.relocations.get(index)
        if relocation is not None:
            place = place_of(relocation, self.maps)
            return MapPointer(place) if relocation.offset is None else place.values + relocation.offset
        if one.src == isa.PSEUDO_FUNC:
            self._enter_function(index + 1 + one.imm)
            return None
        return (self.instructions[index + 1].imm & 0xFFFFFFFF) << 32 | one.imm & 0xFFFFFFFF

    def _call(self, index: int, one: Instruction, known: Knowledge) -> None:
        if one.src:
            self._enter_function(index + 1 + one.imm)
            for value in known.registers[1:6]:
                self._look(value, None)
            known.called(None)
            return
        first, second, third, fourth, fifth = known.registers[1:6]
        call = Call(helper(one), (first, second, third, fourth, fifth), known.number_at(second, 4))
        self.calls[index] = call
        for number, value in enumerate(call.arguments, 1):
            if number > 1 or call.helper not in READS:
                callback = call.helper in (Helper.LOOP, Helper.TAIL_CALL)
                self._look(value, None if callback else isa.STACK_SIZE)  # a helper looks upwards
        known.called(call.helper)
        known.registers[0] = self._result(call)

    def _note_looks(self, one: Instruction, known: Knowledge) -> None:
        """What of the stack an instruction may look at."""
        group, size = one.opcode & 7, isa.SIZE_BYTES[one.opcode & 0x18]
        if group == Class.LDX:
            self._look(known.registers[one.src], size, one.offset)
        elif group == Class.STX:
            self._look(known.registers[one.src], None)  # who finds a pointer to it may look at it
            if one.opcode in ATOMICS:
                self._look(known.registers[one.dst], size, one.offset)

    def _look(self, pointer: Value, size: int | None, offset: int = 0) -> None:
        """`size` bytes there may be looked at; None: it is not known how many, nor on which side."""
        if not isinstance(pointer, StackPointer):
            return
        if pointer.offset is None or size is None:
            self.looked_at[self.function] = (1 << isa.STACK_SIZE) - 1
        else:
            start = max(0, isa.STACK_SIZE + pointer.offset + offset)
            self.looked_at[self.function] |= (1 << size) - 1 << start

    def _result(self, call: Call) -> Value:
        place = call.map
        if call.helper != Helper.MAP_LOOKUP or place is None:
            return None
        if is_array(place) and call.key is not None:
            return element(place, call.key)
        return ValuePointer(place)


def _own(base: Value) -> bool | None:
    if isinstance(base, StackPointer) or (isinstance(base, ValuePointer) and base.place.slots):
        return True
    return False if isinstance(base, ValuePointer) and base.place.per_cpu else None


def _holds(one: Instruction, known: Knowledge) -> bool | None:
    """How a jump goes, if that is certain; comparisons other than for equality are not worth it."""
    operation = one.opcode & 0xF0
    if operation == Jump.JA:
        return True
    if operation not in (Jump.JEQ, Jump.JNE):
        return None
    left = known.registers[one.dst]
    right = known.registers[one.src] if one.opcode & isa.REG else one.imm
    if not isinstance(left, int) or not isinstance(right, int):
        return None
    mask = (1 << 64) - 1 if one.opcode & 7 == Class.JMP else 0xFFFFFFFF
    return (left & mask == right & mask) == (operation == Jump.JEQ)
