"""One Go function's machine code on arm64: where a call begins, and where it ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property

from msgspec import Struct

from gotap.image.errors import NoCode
from gotap.image.functions.pcvalue import Row

from .arm64_instructions import (
    CONDITIONAL,
    IP0,
    IP1,
    RETURN_TO_LINK,
    SP,
    TEMPORARY,
    Instruction,
    Kind,
    decode_all,
)

#: `LDR X16, [X28, #16]`: g.stackguard0, and #24, stackguard1, for the runtime's own on the system stack.
_LOADS_GUARD = (0xF9400B90, 0xF9400F90)
#: Instructions of a stack check; the longest, of a huge frame, has ten.
_LONGEST_CHECK = 12
#: Instructions of the block that grows the stack: sixteen integer and sixteen float arguments, each stored and loaded,
#: with three instructions for a far slot.
_LONGEST_RESTART = 200
#: How far back the kernel looks for the load of an exclusive pair (arch/arm64/kernel/probes/decode-insn.c).
_ATOMIC_CONTEXT = 32
_LOWER, _LOWER_OR_SAME = 3, 9
#: Values of PCDATA_UnsafePoint (internal/abi/symtab.go, Go 1.18–1.27): adjacent sequences have them by turns.
_RESTART, _RESTART_AT_ENTRY = (-3, -4), -5
_MOVES_LINK = 0xAA1E03E3  # MOVD R30, R3


class Entry(Struct, frozen=True):
    """Where a call begins: argument registers, the closure's, the link register and SP are as the caller left them.

    `checked`: behind the check of the stack, which every call passes once, however often the stack grows.
    """

    address: int
    checked: bool


class Leaving(Struct, frozen=True):
    """Where a call ends. `tail`: by a jump to another function, which returns to our caller."""

    address: int
    tail: bool


class Arm64Function:
    """The machine code of one Go function, from its entry to that of the next, padding and constants included.

    `assembly`: written by hand, so that no register is known to be free (funcFlag 1 << 2 of the function table).
    `foreign`: compiled from C, so that R28 is not g, and X27 is the caller's (no file in the function table).
    `unsafe_points`: PCDATA_UnsafePoint, rows of (start, end, value), offsets from `address`.
    Shapes: cmd/internal/obj/arm64/obj7.go (stacksplit, preprocess), Go 1.18–1.27; calling convention:
    cmd/compile/abi-internal.md, "arm64 architecture". Raises NoCode.
    """

    def __init__(
        self,
        code: bytes,
        address: int,
        *,
        assembly: bool = False,
        foreign: bool = False,
        unsafe_points: Sequence[Row] = (),
    ) -> None:
        if len(code) < 4:
            raise NoCode(address)
        self.code = code
        self.address = address
        self.end = address + len(code)
        self.assembly = assembly
        self.foreign = foreign
        self._unsafe_points = unsafe_points
        self.instructions: Sequence[Instruction] = decode_all(code, address)

    def at(self, address: int) -> Instruction | None:
        """The instruction at that address; None where none begins."""
        index, rest = divmod(address - self.address, 4)
        if rest or not 0 <= index < len(self.instructions) or address in self.constants:
            return None
        return self.instructions[index]

    @cached_property
    def constants(self) -> frozenset[int]:
        """Addresses of words that instructions of this function read as constants: no code.

        A constant may look like such an instruction itself; then too many words count as constants, never too few.
        """
        found: set[int] = set()
        for one in self.instructions:
            if one.kind is Kind.LITERAL and one.target is not None:
                found.update(range(one.target, one.target + literal_size(one.word), 4))
        return frozenset(found)

    def _code(self) -> Iterator[Instruction]:
        constants = self.constants
        return (one for one in self.instructions if one.address not in constants)

    @cached_property
    def targets(self) -> dict[int, int]:
        """How many direct jumps of this function lead to an address, calls aside."""
        count: dict[int, int] = {}
        for one in self._code():
            if one.target is not None and (one.kind is Kind.JUMP or one.kind in CONDITIONAL):
                count[one.target] = count.get(one.target, 0) + 1
        return count

    @cached_property
    def has_indirect_jump(self) -> bool:
        """Whether there is a jump through a register: a switch's table, or a tail call."""
        return any(one.kind is Kind.JUMP_REGISTER for one in self._code())

    @cached_property
    def entry(self) -> Entry | None:
        """Where a call begins; None if no place is passed by every call, once. See `entry_trouble`."""
        behind = self._behind_check()
        if behind is not None:
            return Entry(behind, checked=True) if not self.targets.get(behind) else None
        first = self.instructions[0]
        loads_guard = first.word in _LOADS_GUARD
        if loads_guard or first.address in self.constants or self.has_indirect_jump or self.targets.get(self.address):
            return None
        return Entry(self.address, checked=False)

    @property
    def entry_trouble(self) -> str:
        """Why there is no `entry`, in a few words."""
        if self.instructions[0].word in _LOADS_GUARD and self._behind_check() is None:
            return "its stack check has a form that is not known"
        if self.targets.get(self._behind_check() or self.address):
            return "it begins with a loop, so its first instruction runs more than once in a call"
        return "it jumps through a register, perhaps to its first instruction"

    @cached_property
    def leavings(self) -> tuple[Leaving, ...]:
        """All returns and tail calls, by address; exactly one ends each call that no panic ends."""
        found = []
        for one in self._code():
            outside = one.target is not None and not self.address <= one.target < self.end
            if one.word == RETURN_TO_LINK:
                found.append(Leaving(one.address, tail=False))
            elif (one.kind is Kind.JUMP and outside) or (one.kind is Kind.JUMP_REGISTER and not self._is_switch(one)):
                found.append(Leaving(one.address, tail=True))
        return tuple(found)

    def _is_switch(self, jump: Instruction) -> bool:
        """Whether a jump through a register takes its target from a table: `LDR Xt, [Xtable, Xcase, LSL #3]; BR Xt`."""
        index = (jump.address - self.address) // 4
        before = self.instructions[index - 1] if index else None
        return before is not None and before.word & 0xFFE0FC1F == 0xF8607800 | (jump.register or 0)

    def sequence(self, address: int) -> Sequence[Instruction]:
        """The instruction there, and those behind it at which a preempted goroutine would go on before it.

        The assembler makes several instructions of one that needs a large constant; who is preempted between them
        does them again, from the first (isRestartable, cmd/internal/obj/arm64/asm7.go; Go 1.18–1.27). An event at one
        of them would then come twice, so all run where nobody is preempted. Empty: the function itself would start
        again, which Go does on no arm64 so far.
        """
        index, at = (address - self.address) // 4, address - self.address
        row = next((row for row in self._unsafe_points if row[0] <= at < row[1]), None)
        if row is not None and row[2] == _RESTART_AT_ENTRY:
            return ()
        if row is None or row[2] not in _RESTART:
            return self.instructions[index : index + 1]
        return self.instructions[index : row[1] // 4]

    @cached_property
    def _exclusive(self) -> list[int]:
        """Indexes of load-exclusive and store-exclusive instructions."""
        kinds = (Kind.EXCLUSIVE_LOAD, Kind.EXCLUSIVE_STORE)
        return [index for index, one in enumerate(self.instructions) if one.kind in kinds]

    def in_exclusive_pair(self, address: int) -> bool:
        """Whether a load-exclusive may be open there: memory that anybody touches until its store makes that fail.

        The rule is the kernel's, which refuses probes there: the nearest exclusive instruction before is a load.
        """
        index = (address - self.address) // 4
        found = bisect_left(self._exclusive, index) - 1
        if found < 0 or index - self._exclusive[found] > _ATOMIC_CONTEXT:
            return False
        return self.instructions[self._exclusive[found]].kind is Kind.EXCLUSIVE_LOAD

    # -- the stack check ---------------------------------------------------------------------------------------

    def _behind_check(self) -> int | None:
        """The address behind the check of the stack, None if there is no check of a known form."""
        if self.instructions[0].word not in _LOADS_GUARD:
            return None
        behind = None
        for one in self.instructions[1:_LONGEST_CHECK]:
            if one.kind is Kind.CONDITION and one.word & 0xF in (_LOWER, _LOWER_OR_SAME):
                assert one.target is not None
                if not self._restarts(one.target):
                    break
                behind = one.address + 4
                if one.word & 0xF == _LOWER_OR_SAME:
                    return behind
            elif not _only_computes_check(one.word):
                break
        return None

    def _restarts(self, address: int) -> bool:
        """Whether the code there stores arguments, calls for a larger stack, and begins the function anew."""
        start = (address - self.address) // 4
        if not 0 < start < len(self.instructions):
            return False
        called = moved = False
        for one in self.instructions[start : start + _LONGEST_RESTART]:
            if one.word == _MOVES_LINK:
                moved = True
            elif one.kind is Kind.CALL and moved and not called:
                called = True
            elif one.kind is Kind.JUMP:
                return called and one.target == self.address
            elif one.kind is not Kind.PLAIN:
                return False
        return False


def literal_size(word: int) -> int:
    """Bytes that an LDR (literal) reads."""
    opcode, simd = word >> 30, word >> 26 & 1
    return (4, 8, 16)[opcode] if simd else (4, 8, 4)[opcode]


def _only_computes_check(word: int) -> bool:
    """Whether an instruction sets nothing but IP0, IP1, R27 and the flags, and touches no memory.

    `MOVD RSP, R17`, `SUB $n, RSP, R17`, `CMP R16, RSP`, and what puts a large n into R27.
    """
    target = word & 31
    immediate = word >> 26 & 7 == 0b100 and word & 0x1F000000 != 0x10000000  # not ADR, ADRP
    compares = word & 0x7F000000 == 0x71000000 or word & 0x7F000000 == 0x6B000000  # SUBS of immediate or register
    arithmetic = word & 0x1F000000 == 0x0B000000  # ADD, SUB of registers, extended or shifted
    if compares and target == SP:
        return True
    return (immediate or arithmetic) and target in (IP0, IP1, TEMPORARY)

