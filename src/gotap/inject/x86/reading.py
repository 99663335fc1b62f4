"""Reads a BPF program before it is translated: what of it is reached, how branches go, what calls are given."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from gotap.bpf import isa
from gotap.bpf.code import Code, Relocation
from gotap.bpf.isa import Class, Helper, Instruction, Jump
from gotap.inject.x86.calls import Call, Untranslatable, element, is_array
from gotap.inject.x86.knowledge import Knowledge, MapPlace, MapPointer, StackPointer, Value, ValuePointer

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
    never taken; `calls`: of helpers; `own`: atomic operations on memory that only this thread writes to, surely (True)
    or if its per-CPU values are its own (False).
    """

    functions: tuple[Function, ...]
    reached: frozenset[int]
    targets: frozenset[int]
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
    reader.reach()
    reader.look()
    reached, targets = frozenset(reader.reached), frozenset(reader.targets)
    return Reading(reader.functions(), reached, targets, reader.always, reader.calls, reader.own)


class _Reader:
    """Goes through the program along its branches until nothing new is learnt (sparse conditional constant
    propagation): blocks are run with what is known at their start, which only ever becomes less.
    """

    def __init__(self, code: Code, maps: Mapping[str, MapPlace], inlined: Collection[Helper]) -> None:
        self.code, self.maps, self.inlined = code, maps, inlined
        self.relocations = {one.index: one for one in code.relocations}
        self.starts = [0, *(index for index, _ in code.subprograms)]
        self.leaders = {target(index, one) for index, one in enumerate(code.instructions) if is_jump(one)}
        self.known: dict[int, Knowledge] = {0: Knowledge(main=True)}  # at the start of blocks
        self.waiting = [0]
        self.reached: set[int] = set()
        self.targets: set[int] = set()
        self.always: dict[int, bool] = {}
        self.calls: dict[int, Call] = {}
        self.own: dict[int, bool] = {}

    def functions(self) -> tuple[Function, ...]:
        ends = [*self.starts[1:], len(self.code)]
        return tuple(Function(start, end, start == 0) for start, end in zip(self.starts, ends, strict=True)
                     if start in self.known)  # fmt: skip

    def reach(self) -> None:
        """Finds what is known at the start of all blocks that are reached."""
        while self.waiting:
            start = self.waiting.pop()
            index, known = start, self.known[start].copy()
            while True:
                one = self._instruction(index)
                if one.opcode == EXIT:
                    break
                if is_jump(one):
                    holds = self._holds(one, known)
                    if holds is not False:
                        self._enter(target(index, one), known)
                    if holds is not True:
                        self._enter(index + 1, known)
                    break
                self._run(index, one, known)
                index += 2 if one.opcode == isa.LD_IMM64 else 1
                if index in self.leaders:
                    self._enter(index, known)
                    break

    def _enter(self, index: int, known: Knowledge) -> None:
        """Control may come to this block with that knowledge."""
        there = self.known.get(index)
        if there is None:
            self.known[index] = known.copy()
        elif not there.join(known):
            return
        self.waiting.append(index)

    def look(self) -> None:
        """Now that it is certain what is known: writes down what the translation wants of it."""
        for start, at_start in self.known.items():
            index, known = start, at_start.copy()
            while True:
                one = self._instruction(index)
                self.reached.add(index)
                if is_jump(one):
                    self._look_at_jump(index, one, known)
                    break
                if one.opcode == EXIT:
                    break
                if is_helper(one):
                    first, second, third, fourth, fifth = known.registers[1:6]
                    key = known.number_at(second, 4)
                    self.calls[index] = Call(helper(one), (first, second, third, fourth, fifth), key)
                elif one.opcode & 7 == Class.STX and one.opcode & 0xE0 == isa.MODE_ATOMIC:
                    base = known.registers[one.dst]
                    if isinstance(base, StackPointer) or (isinstance(base, ValuePointer) and base.place.per_cpu):
                        self.own[index] = isinstance(base, StackPointer)
                self._run(index, one, known)
                index += 2 if one.opcode == isa.LD_IMM64 else 1
                if index in self.leaders:
                    break

    def _look_at_jump(self, index: int, one: Instruction, known: Knowledge) -> None:
        holds = self._holds(one, known)
        if holds is not False:
            self.targets.add(target(index, one))
        if holds is not None:
            self.always[index] = holds

    def _instruction(self, index: int) -> Instruction:
        if not 0 <= index < len(self.code):
            raise Untranslatable(None, f"the program runs out of its instructions at {index}")
        return self.code.instructions[index]

    # What instructions do to what is known

    def _run(self, index: int, one: Instruction, known: Knowledge) -> None:
        """An instruction that does not jump."""
        called = callee(index, one)
        if called is not None and called not in self.known:
            self.known[called] = Knowledge(main=False)
            self.waiting.append(called)
        if one.opcode == isa.LD_IMM64:
            known.registers[one.dst] = self._constant(index, one)
        elif one.opcode != CALL:
            known.note(one)
        elif one.src:
            known.called(None)
        else:
            result = self._result(helper(one), known)
            known.called(helper(one))
            known.registers[0] = result

    def _constant(self, index: int, one: Instruction) -> Value:
        relocation, high = self.relocations.get(index), self._instruction(index + 1).imm
        if relocation is None:
            return None if one.src else (high & 0xFFFFFFFF) << 32 | one.imm & 0xFFFFFFFF
        place = place_of(relocation, self.maps)
        return MapPointer(place) if relocation.offset is None else place.values + relocation.offset

    def _result(self, called: Helper, known: Knowledge) -> Value:
        the_map = known.registers[1]
        if called != Helper.MAP_LOOKUP or not isinstance(the_map, MapPointer):
            return None
        place, key = the_map.place, known.number_at(known.registers[2], 4)
        if is_array(place) and key is not None and called not in self.inlined:
            return element(place, key)
        return ValuePointer(place)

    def _holds(self, one: Instruction, known: Knowledge) -> bool | None:
        """How a jump goes, if that is certain; comparisons other than for equality are not worth it."""
        operation = one.opcode & 0xF0
        if operation == Jump.JA:
            return True
        if operation not in (Jump.JEQ, Jump.JNE):
            return None
        mask = (1 << 64) - 1 if one.opcode & 7 == Class.JMP else 0xFFFFFFFF
        left = known.registers[one.dst]
        right = known.registers[one.src] if one.opcode & isa.REG else one.imm
        if not isinstance(left, int) or not isinstance(right, int):
            return None
        return (left & mask == right & mask) == (operation == Jump.JEQ)
