"""Reads a BPF program before it is translated: what of it is reached, how branches go, what calls are given."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from gotap.bpf import isa
from gotap.bpf.code import Code, Relocation
from gotap.bpf.isa import Class, Helper, Instruction, Jump
from gotap.inject.x86.calls import Call, Untranslatable, element, is_array
from gotap.inject.x86.knowledge import Knowledge, MapPlace, MapPointer

CALL, EXIT, JA = Class.JMP | Jump.CALL, Class.JMP | Jump.EXIT, Class.JMP | Jump.JA
_GOTOL = Class.JMP32 | Jump.JA


class Function(Struct, frozen=True):
    """Instructions [start, end) of a program or subprogram, as far as they are reached."""

    start: int
    end: int
    main: bool


class Reading(Struct, frozen=True):
    """What `read` finds, by indexes of instructions.

    `reached`, `targets`: those that may run, those that are jumped to; `always`: conditional jumps that are always or
    never taken; `calls`: of helpers.
    """

    functions: tuple[Function, ...]
    reached: frozenset[int]
    targets: frozenset[int]
    always: Mapping[int, bool]
    calls: Mapping[int, Call]


def helper(one: Instruction) -> Helper:
    """Untranslatable: gotap has no name for it."""
    try:
        return Helper(one.imm)
    except ValueError:
        raise Untranslatable(None, f"the program calls function {one.imm} of the kernel, unknown to gotap") from None


def is_helper(one: Instruction) -> bool:
    return one.opcode == CALL and one.src == 0


def is_jump(one: Instruction) -> bool:
    return one.opcode & 7 in (Class.JMP, Class.JMP32) and one.opcode not in (CALL, EXIT)


def target(index: int, one: Instruction) -> int:
    """Where a jump goes."""
    return index + 1 + (one.imm if one.opcode == _GOTOL else one.offset)


def callee(index: int, one: Instruction) -> int | None:
    """First instruction of the subprogram that is called, or whose address is loaded."""
    if (one.opcode, one.src) in ((CALL, isa.PSEUDO_CALL), (isa.LD_IMM64, isa.PSEUDO_FUNC)):
        return index + 1 + one.imm
    return None


def place_of(relocation: Relocation, maps: Mapping[str, MapPlace]) -> MapPlace:
    try:
        return maps[relocation.map]
    except KeyError:
        raise Untranslatable(None, f"the program uses a map that it was not given: {relocation.map}") from None


def read(code: Code, maps: Mapping[str, MapPlace], inlined: Collection[Helper] = ()) -> Reading:
    """`inlined`: helpers whose code others write, so that nothing is known of their results."""
    reader = _Reader(code, maps, inlined)
    reader.learn()
    reached = _reached(code, reader.always)
    starts = [0, *(index for index, _ in code.subprograms)]
    ends = [*starts[1:], len(code)]
    functions = tuple(
        Function(start, end, start == 0) for start, end in zip(starts, ends, strict=True) if start in reached
    )
    targets = frozenset(target(index, one) for index, one in enumerate(code.instructions)
                        if index in reached and is_jump(one) and reader.always.get(index, True))  # fmt: skip
    calls = {index: call for index, call in reader.calls.items() if index in reached}
    return Reading(functions, reached, targets, reader.always, calls)


class _Reader:
    def __init__(self, code: Code, maps: Mapping[str, MapPlace], inlined: Collection[Helper]) -> None:
        self.code, self.maps, self.inlined = code, maps, inlined
        self.relocations = {one.index: one for one in code.relocations}
        self.always: dict[int, bool] = {}
        self.calls: dict[int, Call] = {}
        self.known = Knowledge()

    def learn(self) -> None:
        """One pass from top to bottom; what is known ends where control may come from elsewhere."""
        instructions = self.code.instructions
        leaders = {target(index, one) for index, one in enumerate(instructions) if is_jump(one)}
        leaders.update(index for index, _ in self.code.subprograms)
        index = 0
        while index < len(instructions):
            if index in leaders:
                self.known.forget()
            one = instructions[index]
            if one.opcode == isa.LD_IMM64:
                self._constant(index, one)
                index += 2
                continue
            if one.opcode & 7 not in (Class.JMP, Class.JMP32):
                self.known.note(one)
            elif one.opcode == CALL:
                self._call(index, one)
            elif one.opcode in (EXIT, JA, _GOTOL):
                self.known.forget()
            elif (holds := self._holds(one)) is not None:
                self.always[index] = holds
            index += 1

    def _constant(self, index: int, one: Instruction) -> None:
        relocation, high = self.relocations.get(index), self.code.instructions[index + 1].imm
        if relocation is None:
            value = None if one.src else (high & 0xFFFFFFFF) << 32 | one.imm & 0xFFFFFFFF
            self.known.load(one.dst, value)
            return
        place = place_of(relocation, self.maps)
        self.known.load(one.dst, MapPointer(place) if relocation.offset is None else place.values + relocation.offset)

    def _call(self, index: int, one: Instruction) -> None:
        if one.src:
            self.known.called()
            return
        first, second, third, fourth, fifth = self.known.registers[1:6]
        call = Call(helper(one), (first, second, third, fourth, fifth), self.known.constant_at(second, 4))
        self.calls[index] = call
        self.known.called()
        place = call.map
        if call.helper != Helper.MAP_LOOKUP or call.helper in self.inlined:
            return
        if place is not None and is_array(place) and call.key is not None:
            self.known.load(0, element(place, call.key))

    def _holds(self, one: Instruction) -> bool | None:
        """How a comparison for equality goes, if both sides are numbers: others are not worth it."""
        operation = one.opcode & 0xF0
        if operation not in (Jump.JEQ, Jump.JNE):
            return None
        mask = (1 << 64) - 1 if one.opcode & 7 == Class.JMP else 0xFFFFFFFF
        left = self.known.registers[one.dst]
        right = self.known.registers[one.src] if one.opcode & isa.REG else one.imm
        if not isinstance(left, int) or not isinstance(right, int):
            return None
        return (left & mask == right & mask) == (operation == Jump.JEQ)


def _reached(code: Code, always: Mapping[int, bool]) -> frozenset[int]:
    """From the first instruction on: by running, jumping, calling."""
    seen: set[int] = set()
    waiting = [0]
    while waiting:
        index = waiting.pop()
        while index not in seen:
            if not 0 <= index < len(code):
                raise Untranslatable(None, f"the program runs out of its instructions at {index}")
            seen.add(index)
            one = code.instructions[index]
            called = callee(index, one)
            if called is not None:
                waiting.append(called)
            if one.opcode == EXIT:
                break
            if is_jump(one) and always.get(index, True):
                waiting.append(target(index, one))
                if one.opcode in (JA, _GOTOL) or index in always:
                    break
            index += 2 if one.opcode == isa.LD_IMM64 else 1
    return frozenset(seen)
