"""Where a jump's five bytes find room: the stretches of code around an address, each judged.

A stretch is a straight line that is entered at its start only. It may begin before the address, at the function's own
start for one behind the stack check, and it may end at the address: then the instruction there stays in place.
"""

from __future__ import annotations

from collections.abc import Iterator

from iced_x86 import (
    FlowControl,
    Instruction,
    InstructionInfoFactory,
    Mnemonic,
    OpAccess,
    Register,
    RegisterExt,
    RflagsBits,
)
from msgspec import Struct

from ..effects import CALLS, NONE, RBP, RIP, RSP, effect_of
from ..flow import Block, FlowGraph
from ..function import FunctionCode
from .displaced import why_not_movable
from .faults import fault, pointer_used
from .unsafepoints import UnsafePoints

JUMP = 5
#: A write to another process's memory may end between two pages (__get_user_pages, mm/gup.c), and half a jump is none.
#: What an image is moved by are whole pages.
PAGE = 4096
#: `pop %rbp` behind the first instruction of epilogues, `jbe` (short) behind that of stack checks.
_COMMON_PUNS = b"\x5d\x76"
#: Bytes before an address at which a stretch may begin: the longest stack check has 27 (obj6.go, stacksplit).
_FURTHEST = 32
#: Instructions that are looked back over for an earlier use of a pointer.
_LOOK_BACK = 12
#: Stands for the flags, beside numbers of registers.
_FLAGS = -1
_SCRATCH = frozenset((int(Register.R12), int(Register.R13), _FLAGS))
_STATUS = RflagsBits.OF | RflagsBits.SF | RflagsBits.ZF | RflagsBits.AF | RflagsBits.CF | RflagsBits.PF
_FACTORY = InstructionInfoFactory()
_FALLS = frozenset((FlowControl.NEXT, FlowControl.CONDITIONAL_BRANCH))


def preempted(address: int) -> str:
    """Why a jump cannot be placed there while goroutines exist."""
    return f"a goroutine may be preempted at {address:#x}, between the instructions it overwrites"


class Window(Struct, frozen=True):
    """Instructions `first` … `last` − 1 run in the trampoline; `length` bytes of them are overwritten.

    `several`: more than one instruction is overwritten. `calls`: a call runs in the trampoline.
    """

    first: int
    last: int
    length: int
    pun: int | None
    reason_not_live: str
    calls: bool
    several: bool

    @property
    def rank(self) -> tuple[bool, bool, int, bool, int]:
        """The lower the better.

        A jump that overwrites one instruction alone, as a pun does, can be written wherever threads stand; and should
        somebody put a uprobe there afterwards, the kernel runs that instruction, which it reads from the file, and goes
        on behind it: with several overwritten that is in the middle of the jump, which ends the program.
        Puns need trampolines in certain places, so that those come first which most functions offer.
        """
        places = 0 if self.pun is None else _COMMON_PUNS.find(self.pun) + 1 or len(_COMMON_PUNS) + 1
        return bool(self.reason_not_live), self.several, places, self.calls, self.last - self.first

    @property
    def is_perfect(self) -> bool:
        """Whether no other can be better: one instruction that needs nothing."""
        return self.rank == (False, False, 0, False, 1)


class Stretches:
    """The stretches of one function. Everything is found out when it is first asked for."""

    def __init__(self, code: FunctionCode, unsafe: UnsafePoints) -> None:
        self.graph: FlowGraph = code.graph
        self._code = code
        self.unsafe = unsafe
        self._fixed: dict[int, str] = {}
        self._below_sp: dict[int, frozenset[int]] = {}
        self.check_end = self._end_of_check()

    # -- windows around an address -------------------------------------------------------------------------------

    def around(self, index: int, *, puns: bool) -> Iterator[Window | str]:
        """Windows for an event before the instruction, those that begin there first; for the others, why not."""
        for first in self._starts(index):
            yield self._window(first, index)
            if puns and (punned := self._punned(first, index)) is not None:
                yield punned

    def best(self, index: int, *, puns: bool) -> Window | str:
        """The window of the lowest rank, or why there is none that begins with the instruction."""
        best: Window | None = None
        reason = ""
        for found in self.around(index, puns=puns):
            if isinstance(found, str):
                reason = reason or found
            elif best is None or found.rank < best.rank:
                best = found
            if best is not None and best.is_perfect:
                break
        return best or reason

    def _starts(self, index: int) -> Iterator[int]:
        """Indices from which control always goes on to the instruction, unless it leaves the straight line before."""
        instructions = self.graph.instructions
        address = instructions[index].ip
        yield index
        while index > 0 and not self.is_target(index):
            before = instructions[index - 1]
            index -= 1
            if before.flow_control not in _FALLS or address - before.ip > _FURTHEST or self.why_fixed(index):
                return
            yield index

    def _window(self, first: int, index: int) -> Window | str:
        instructions = self.graph.instructions
        start = instructions[first].ip
        i, length, not_live = first, 0, ""
        while length < JUMP or i < index:
            if i == len(instructions):
                return "the function ends there"
            one = instructions[i]
            if i > first and length < JUMP:
                if self.is_target(i):
                    return f"a jump leads to {one.ip:#x}, among the five bytes it needs"
                if not not_live and not self.unsafe.unsafe(one.ip):
                    not_live = preempted(one.ip)
            if why := self.why_fixed(i):
                return f"the instruction at {one.ip:#x} {why}"
            i += 1
            if length < JUMP:
                length = one.next_ip - start
            if one.flow_control not in _FALLS:
                break
        last = instructions[i - 1]
        if length < JUMP:
            if not self._is_padding(last.next_ip, start + JUMP):
                return f"the straight line from {start:#x} is only {length} bytes long"
            length = JUMP
        if start % PAGE + JUMP > PAGE:
            return f"the five bytes at {start:#x} lie in two pages, which cannot be written in one step"
        several = length > instructions[first].len and i > first + 1
        return Window(first, i, length, None, not_live, last.flow_control in CALLS, several)

    def _punned(self, first: int, index: int) -> Window | None:
        """Four bytes: the jump's last byte is the first of the next instruction, which so can still be executed.

        `add $x, %rsp; pop %rbp; ret` of Go ≥ 1.21 above all. From 0x80 on the jump would lead down, where no room is.
        """
        instructions = self.graph.instructions
        one = instructions[first]
        if one.len != JUMP - 1 or one.flow_control not in _FALLS or first + 1 >= len(instructions):
            return None
        if one.ip % PAGE + one.len > PAGE:
            return None
        pun, last = self._code.bytes_at(one.next_ip, 1)[0], max(first + 1, index)
        if pun >= 0x80 or self.is_target(first + 1) or any(self.why_fixed(i) for i in range(first, last)):
            return None
        return Window(first, last, one.len, pun, "", calls=False, several=False)

    def _is_padding(self, start: int, end: int) -> bool:
        """Whether nothing is there but what fills the gap to the next function."""
        return start == self.graph.instructions[-1].next_ip and end <= self.graph.end

    # -- instructions --------------------------------------------------------------------------------------------

    def why_fixed(self, index: int) -> str:
        """Why the instruction must be run in its place; empty: it need not."""
        if (known := self._fixed.get(index)) is not None:
            return known
        instruction = self.graph.instructions[index]
        why = why_not_movable(instruction)
        if not why and (pointer := fault(instruction, assembly=self.unsafe.assembly)) is not None:
            why = "" if pointer != NONE and self._proven(index, pointer) else "may fault"
        return self._fixed.setdefault(index, why)

    def _proven(self, index: int, pointer: int) -> bool:
        """Whether the same pointer was followed shortly before, so that it is not nil."""
        for i in range(index - 1, max(-1, index - 1 - _LOOK_BACK), -1):
            if self.is_target(i + 1):
                return False
            instruction = self.graph.instructions[i]
            if instruction.flow_control not in _FALLS:
                return False
            if pointer in effect_of(instruction).written:
                return bool(instruction.mnemonic == Mnemonic.LEA) and instruction.memory_base in (RSP, RIP)
            if pointer_used(instruction) == pointer:
                return True
        return False

    def is_target(self, index: int) -> bool:
        """Whether control may come to the instruction from elsewhere than the one before it."""
        graph = self.graph
        instruction = graph.instructions[index]
        if instruction.ip == self.unsafe.recovery:
            return True
        if 0 < index < self.check_end:
            return False
        b = graph.block_of(index)
        if not graph.complete or self.unsafe.assembly or index == 0:
            return True
        if graph.blocks[b].first != index:
            return False
        if graph.blocks[b].predecessors != [b - 1]:
            return True
        before = graph.instructions[index - 1]
        falls = before.flow_control in _FALLS or before.flow_control in CALLS
        return not falls or (
            before.flow_control == FlowControl.CONDITIONAL_BRANCH and before.near_branch_target == instruction.ip
        )

    def _end_of_check(self) -> int:
        """The index behind the stack check, to the middle of which nothing jumps; 0: there is none.

        cmd/internal/obj/x86/obj6.go, stacksplit (Go 1.18–1.27), puts it in front of the finished body.
        """
        graph = self.graph
        b = end = 0
        while graph.blocks[b].leave is None and b + 1 < len(graph.blocks):
            others = [target for target in graph.blocks[b].successors if target != b + 1]
            if len(others) != 1 or not graph.blocks[others[0]].restart:
                break
            end = graph.blocks[b].last + 1
            b += 1
        return end

    # -- what is free at an address ------------------------------------------------------------------------------

    def keeps_below_sp(self, index: int) -> bool:
        """Whether data may lie below SP there: in calls of duffzero and duffcopy up to Go 1.21, and in assembly.

        For the former the assembler makes a frame there, and takes RBP back right behind the call (bpduff1 and bpduff2
        in cmd/internal/obj/x86/asm6.go, Go 1.18–1.21).
        """
        if self.unsafe.assembly:
            return any(_is_below_sp(one) for one in self.graph.instructions)
        b = self.graph.block_of(index)
        if b not in self._below_sp:
            self._below_sp[b] = frozenset(self._frames_below_sp(self.graph.blocks[b]))
        return index in self._below_sp[b]

    def _frames_below_sp(self, block: Block) -> Iterator[int]:
        kept = False
        for i in range(block.first, block.last + 1):
            if kept:
                yield i
            one = self.graph.instructions[i]
            if one.memory_base == RSP:
                kept = kept or _is_below_sp(one)
            elif kept and one.memory_base == RBP and one.op0_register == Register.RBP:
                kept = False

    def scratch(self, index: int) -> bool:
        """Whether R12, R13 and the flags mean nothing before the instruction.

        Neither arguments nor results are in them (cmd/compile/abi-internal.md, Go 1.18–1.27).
        """
        if self.unsafe.assembly:
            return False
        return index == self.check_end or self._dead(index) or self._unused(index)

    def _unused(self, index: int) -> bool:
        """Whether none of them has been written since the function was entered, on the only way to the instruction."""
        if index >= _LOOK_BACK or self.graph.blocks[0].cyclic or index > self.graph.blocks[0].last:
            return False
        return not any(_touches(one) for one in self.graph.instructions[:index])

    def _dead(self, index: int) -> bool:
        """Whether all three are written before they are read, or the function is left."""
        live = set(_SCRATCH)
        for i in range(index, min(index + _LOOK_BACK, len(self.graph.instructions))):
            instruction = self.graph.instructions[i]
            if instruction.flow_control == FlowControl.RETURN:
                return True
            if instruction.flow_control != FlowControl.NEXT:
                return False
            read, written = _used(instruction)
            if not live.isdisjoint(read):
                return False
            live -= written
            if not live:
                return True
        return False


def _is_below_sp(instruction: Instruction) -> bool:
    below = instruction.memory_base == RSP and instruction.memory_displacement >> 63
    return bool(below) and instruction.mnemonic != Mnemonic.LEA


def _used(instruction: Instruction) -> tuple[set[int], set[int]]:
    """Of R12, R13 and the flags, what is read, and what is overwritten whole."""
    read: set[int] = set()
    written: set[int] = set()
    for used in _FACTORY.info(instruction).used_registers():
        full = RegisterExt.full_register(used.register)
        if full not in _SCRATCH:
            continue
        if used.access != OpAccess.WRITE:
            read.add(full)
        elif RegisterExt.size(used.register) >= 4:
            written.add(full)
    if instruction.rflags_read:
        read.add(_FLAGS)
    if instruction.rflags_modified & _STATUS == _STATUS:
        written.add(_FLAGS)
    return read, written


def _touches(instruction: Instruction) -> bool:
    """Whether any part of R12, R13 or the flags is written."""
    return bool(instruction.rflags_modified) or any(
        used.access != OpAccess.READ and RegisterExt.full_register(used.register) in _SCRATCH
        for used in _FACTORY.info(instruction).used_registers()
    )
