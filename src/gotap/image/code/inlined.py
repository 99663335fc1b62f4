"""Where an inlined call begins: an instruction that is executed once for each call, or why there is none.

The compiler puts a mark where an inlined body begins. The inline tree's parentPc names the instruction that stands for
it: a nop of its own, or any other instruction with the call's source position (cmd/compile/internal/ssagen/ssa.go,
genssa, inlMarks; Go 1.18–1.27). A nop stands exactly where the body begins. Other instructions may have been moved, so
then the copy's code has to show it: a block of it that all the rest is behind, that is passed whenever the named
instruction is, and that no loop of the body goes through.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from iced_x86 import ConditionCode, FlowControl, Instruction, Mnemonic
from msgspec import Struct

from .effects import CALLS
from .flow import FlowGraph
from .function import FunctionCode
from .model import Cost, Site

_NO_CODE = "nothing of it is left in the code"
_MERGED = "its code was merged with that around it"
_LOOP = "it begins with a loop that is not to be told from its calls"
_SPECULATIVE = "it is computed whether or not it is called"
_UNCLEAR = "the code around it could not be understood"

#: Instructions of a body that may be executed speculatively; maxfuseinsts in ssa/branchelim.go is 2.
_MOST_SPECULATIVE = 3


class InlinedSite(Struct, frozen=True):
    """`site`: fires once for each inlined call; None: there is no such place, for this `reason`.

    `inside`: the site's instruction belongs to the copy, so that debug information tells of its parameters there.
    """

    site: Site | None
    reason: str = ""
    inside: bool = False


class InlinedCopy:
    """One inlined call in a function's code. `ranges`: its code [start, end); `mark`: what parentPc names.

    `hoists`: the compiler moves what does not change out of loops, as Go does from 1.27 on.
    """

    def __init__(
        self, code: FunctionCode, ranges: Sequence[tuple[int, int]], mark: int, *, hoists: bool = True
    ) -> None:
        self._code = code
        self._hoists = hoists
        self._graph: FlowGraph = code.graph
        between = (range(self._first_at(low), self._first_at(high)) for low, high in ranges)
        self._own = sorted({i for indices in between for i in indices})
        self._mark = self._graph.index_of(mark)

    def _first_at(self, address: int) -> int:
        """The index of the first instruction from there on."""
        return bisect_left(self._graph.instructions, address, key=lambda one: one.ip)

    def site(self, *, arguments: bool = False) -> InlinedSite:
        """The cheapest place; with `arguments`, the first of the copy's own instructions that it begins with."""
        if not self._own:
            return InlinedSite(None, _NO_CODE)
        block = self._beginning()
        if isinstance(block, str):
            return InlinedSite(None, block)
        return self._within(block, arguments)

    # -- the block ----------------------------------------------------------------------------------------------

    def _beginning(self) -> int | str:
        """The block that is executed once for each call, or why that is not known."""
        graph = self._graph
        if self._mark is None or not graph.complete:
            return _UNCLEAR
        marked = graph.block_of(self._mark)
        if not graph.blocks[marked].reachable:
            return _UNCLEAR
        if self._is_nop(self._mark):
            return _SPECULATIVE if self._is_speculative(marked) else marked
        first = graph.first_of(self._anchored())
        if first is None:
            # What is left can be moved about, so that only the marked instruction tells.
            own = {graph.block_of(i) for i in self._own}
            return marked if own == {marked} and self._stays(self._mark) else _MERGED
        if not self._begins_loop(first) or self._alike(first, marked):
            return first
        before = self._entered_from(first)
        return before if before is not None and self._alike(before, marked) else _LOOP

    def _is_nop(self, i: int) -> bool:
        return bool(self._graph.instructions[i].mnemonic == Mnemonic.NOP)

    def _is_speculative(self, marked: int) -> bool:
        """Whether the body may be computed though it was not called: two operations, selected by a conditional move.

        cmd/compile/internal/ssa/branchelim.go, which lets marks pass from Go 1.26 on.
        """
        own = [i for i in self._own if not self._is_nop(i)]
        behind = self._graph.instructions[self._mark or 0 : self._graph.blocks[marked].last + 1]
        moves = any(one.condition_code != ConditionCode.NONE and not one.is_jcc_short_or_near for one in behind)
        return len(own) <= _MOST_SPECULATIVE and moves and not self._anchored()

    def _anchored(self) -> set[int]:
        """Blocks with instructions of the copy that stand where the source has them."""
        graph = self._graph
        return {b for i in self._own if graph.blocks[b := graph.block_of(i)].reachable and self._stays(i)}

    def _stays(self, i: int) -> bool:
        """Whether the compiler leaves an instruction in its block: a call, a store, a branch.

        What computes a register from two others is not moved to where it is used (ssa/tighten.go, Go 1.18–1.27), but
        perhaps in front of a loop (ssa/licm.go, Go 1.27).
        """
        flow = self._graph.instructions[i].flow_control
        if flow in CALLS or flow in (FlowControl.CONDITIONAL_BRANCH, FlowControl.INDIRECT_BRANCH):
            return True
        successors = self._graph.blocks[self._graph.block_of(i)].successors
        before_loop = self._hoists and len(successors) == 1 and self._begins_loop(successors[0])
        return self._code.stores(i) or (not before_loop and self._code.combines(i))

    def _begins_loop(self, b: int) -> bool:
        """Whether control comes back to the block from behind it."""
        earlier = self._graph.reached([0], b)
        return any(p not in earlier and self._graph.blocks[p].reachable for p in self._graph.blocks[b].predecessors)

    def _alike(self, one: int, other: int) -> bool:
        """Whether two blocks are executed equally often: behind each pass of one follows one of the other."""
        return one == other or self._followed(one, other) or self._followed(other, one)

    def _followed(self, first: int, second: int) -> bool:
        blocks = self._graph.blocks
        if blocks[first].leave or second in self._graph.reached([0], first):
            return False
        between = self._graph.reached(blocks[first].successors, second)
        if first in between or any(blocks[b].leave for b in between):
            return False
        return second not in self._graph.reached(blocks[second].successors, first)

    def _entered_from(self, b: int) -> int | None:
        """The block before a loop that begins with `b`: the only way into it, and it leads nowhere else."""
        blocks = self._graph.blocks
        earlier = self._graph.reached([0], b)  # what else leads to it comes back from behind it
        outside = [p for p in blocks[b].predecessors if p in earlier]
        if len(outside) == 1 and blocks[outside[0]].successors == [b] and blocks[outside[0]].leave is None:
            return outside[0]
        return None

    # -- the instruction ----------------------------------------------------------------------------------------

    def _within(self, b: int, arguments: bool) -> InlinedSite:
        """The instruction in a block. Calls may end by panic, so that only what no call stands between is alike."""
        begin = self._first_in(b)
        own = set(self._own)
        if arguments:
            inside = [i for i in self._run(b, begin) if i in own]
            begin = inside[0] if inside else begin
            if self._cost(begin) is not Cost.FORBIDDEN:
                return InlinedSite(self._site(begin), inside=begin in own)
        candidates = [i for i in self._run(b, begin) if self._cost(i) is not Cost.FORBIDDEN]
        if not candidates:
            return InlinedSite(None, "no instruction there can carry a probe")
        best = min(candidates, key=lambda i: (self._cost(i), i))
        return InlinedSite(self._site(best), inside=best in own)

    def _first_in(self, b: int) -> int:
        """The mark, if it is in the block, else the first of the copy's instructions there, else how it ends."""
        block = self._graph.blocks[b]
        assert self._mark is not None
        if block.first <= self._mark <= block.last and self._is_nop(self._mark):
            return self._mark
        return next((i for i in self._own if block.first <= i <= block.last), block.last)

    def _run(self, b: int, start: int) -> Iterator[int]:
        """Instructions from one on up to the next call or the block's end."""
        for i in range(start, self._graph.blocks[b].last + 1):
            yield i
            if self._is_call(self._graph.instructions[i]):
                return

    @staticmethod
    def _is_call(instruction: Instruction) -> bool:
        return instruction.flow_control in CALLS

    def _cost(self, index: int) -> Cost:
        return self._code.cost_at(self._graph.instructions[index].ip)

    def _site(self, index: int) -> Site:
        return Site(self._graph.instructions[index].ip, self._cost(index), self._code.depths.before(index))
