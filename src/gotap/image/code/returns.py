"""Where a function is left: for every way out, the cheapest instructions that stand for it, and the results at them.

From a `ret` the walk goes back, instruction by instruction and over the edges into the block, as long as nothing in
between can go another way, fault, or hide what it does. Each result starts as a register at the `ret` and is
rewritten by every instruction that is crossed, as a weakest precondition is: before `mov 8(SP), AX` the result in AX
is the word at 8(SP). So at the site that is found, all results are known by location although they are not yet in
their registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iced_x86 import FlowControl, Instruction, Register
from msgspec import Struct

from .callees import Callees
from .effects import REGISTER_NAMES as _NAMES
from .effects import REGISTER_NUMBERS, WORD_MASK, Addr, Effect, Imm, Mem, Reg, Value
from .flow import FlowGraph, Leave
from .frame import StackDepths, WordTracker
from .model import Constant, Cost, Edge, Exit, Global, Location, ReturnSite, Stack, StaticAddress, Word
from .model import Register as RegisterLocation

_MAX_SITES = 16  # for one way out; more cost more to attach than they save

_Results = tuple[Location, ...]


class _Cover(Struct):
    """Sites that together stand for one way out, and the blocks whose conditional jumps are among them."""

    sites: list[ReturnSite]
    branches: set[int]


def _source(value: Value, size: int) -> Location | None:
    """The low `size` bytes of an operand, as a location before the instruction."""
    if isinstance(value, Reg):
        return RegisterLocation(_NAMES[value.number], min(size, value.size)) if value.number in _NAMES else None
    if isinstance(value, Imm):
        return Constant(value.value & ((1 << 8 * size) - 1) & WORD_MASK)
    if isinstance(value, Addr):
        return StaticAddress(value.value) if size == 8 else None
    if value.on_stack:
        return Stack(value.offset, min(size, value.size))
    return Global(value.offset, min(size, value.size)) if value.static else None


def _memory_before(offset: int, size: int, effect: Effect, *, static: bool) -> Location | None:
    """The location, before an instruction, of `size` bytes of stack (offset from SP before it) or static memory."""
    target = effect.copy.target if effect.copy is not None else None
    for store in effect.stores:
        same_kind = store.static if static else store.on_stack
        if same_kind:
            if not (store.offset < offset + size and offset < store.offset + store.size):
                continue
            exact = isinstance(target, Mem) and target == store and store.offset == offset and store.size >= size
            if effect.copy is not None and isinstance(effect.copy.source, Imm) and effect.copy.source.value == 0:
                exact = target == store and store.offset <= offset and offset + size <= store.offset + store.size
            return _source(effect.copy.source, size) if exact and effect.copy is not None else None
        if not (store.on_stack or store.static or (store.plain and store.base == Register.R14)):
            return None  # a pointer that may lead here
    return Global(offset, size) if static else Stack(offset, size)


def before(location: Location, effect: Effect) -> Location | None:
    """Where the value that is at `location` after an instruction was before it; None: it was nowhere yet."""
    if isinstance(location, RegisterLocation):
        number = REGISTER_NUMBERS[location.name]
        copy = effect.copy
        if copy is not None and isinstance(copy.target, Reg) and copy.target.number == number:
            return _source(copy.source, location.size)
        return None if number in effect.written else location
    if isinstance(location, Stack):
        if effect.sp_change is None:
            return None
        return _memory_before(location.offset + effect.sp_change, location.size, effect, static=False)
    if isinstance(location, Global):
        return _memory_before(location.address, location.size, effect, static=True)
    return location


class ReturnFinder:
    """Finds return sites for one list of result words. `allow_faults`, `settled`: see FunctionCode.return_sites."""

    def __init__(
        self,
        graph: FlowGraph,
        depths: StackDepths,
        tracker: WordTracker,
        callees: Callees,
        cost: Callable[[int], Cost],
        *,
        allow_faults: bool,
        settled: bool = False,
    ) -> None:
        self._graph = graph
        self._depths = depths
        self._tracker = tracker
        self._callees = callees
        self._cost = cost
        self._allow_faults = allow_faults
        self._settled = settled

    def find(self, words: Sequence[Word], idle_hits: int) -> list[ReturnSite]:
        sites: list[ReturnSite] = []
        covers: list[tuple[_Cover, ReturnSite]] = []
        for b, block in enumerate(self._graph.blocks):
            if block.leave in (Leave.TAIL_JUMP, Leave.TAIL_BRANCH):
                sites.append(self._tail(b, len(words)))
            elif block.leave == Leave.RETURN:
                plain, cover = self._return(b, words)
                if cover is None:
                    sites.append(plain)
                elif not cover.branches:
                    sites.extend(cover.sites)
                else:
                    covers.append((cover, plain))
        sites.extend(self._within_budget(covers, idle_hits))
        return sorted(_merged(sites), key=lambda site: site.address)

    def _tail(self, b: int, count: int) -> ReturnSite:
        block = self._graph.blocks[b]
        edge = Edge(_condition(self._graph, block.last), True) if block.leave == Leave.TAIL_BRANCH else None
        return self._site(block.last, self._depths.before(block.last), edge, Exit.TAIL_CALL, (None,) * count)

    def _site(
        self, index: int, depth: int | None, edge: Edge | None, way: Exit, results: tuple[Location | None, ...]
    ) -> ReturnSite:
        return ReturnSite(self._graph.instructions[index].ip, self._cost(index), depth, edge, way, results)

    def _return(self, b: int, words: Sequence[Word]) -> tuple[ReturnSite, _Cover | None]:
        """The return itself, and what is cheaper, if anything."""
        block = self._graph.blocks[b]
        way = Exit.RETURN if block.reachable else Exit.RECOVERED
        results: _Results = tuple(RegisterLocation(word) if isinstance(word, str) else Stack(word) for word in words)
        balanced = self._depths.before(block.last) in (None, 0)
        plain = self._site(block.last, 0 if balanced else None, None, way, results)
        if not balanced:
            return plain, None  # assembly that returns elsewhere
        cover = self._cover(b, block.last - 1, results, 0, way) if self._graph.complete else None
        if cover is None or not any(site.cost.cheap for site in cover.sites) or len(cover.sites) > _MAX_SITES:
            return plain, None
        return plain, cover

    # -- going back --------------------------------------------------------------------------------------------

    def _cover(self, b: int, index: int, results: _Results, depth: int, way: Exit) -> _Cover | None:
        """Sites through exactly one of which control passes on its way to just after `index`, in block `b`."""
        block = self._graph.blocks[b]
        fallback: ReturnSite | None = None
        while index >= block.first:
            crossed = self._cross(index, results)
            if crossed is None:
                return self._only(fallback)
            results, change = crossed
            depth += change
            if self._depths.before(index) not in (None, depth):
                return self._only(fallback)
            site = self._site(index, depth, None, way, results)
            if site.cost.cheap:
                return self._only(site)
            if fallback is None and site.cost != Cost.FORBIDDEN:
                fallback = site
            index -= 1
        return self._cover_edges(b, results, depth, way) or self._only(fallback)

    @staticmethod
    def _only(site: ReturnSite | None) -> _Cover | None:
        return _Cover([site], set()) if site is not None else None

    def _cross(self, index: int, results: _Results) -> tuple[_Results, int] | None:
        """Locations before an instruction, and its change of SP; None if it must not stand between site and return."""
        instruction = self._graph.instructions[index]
        if instruction.flow_control == FlowControl.CALL or instruction.ip in self._callees.harmless_calls:
            return self._cross_call(instruction, results)
        effect = self._tracker.effect(index)
        if effect.opaque or effect.sp_change is None or (effect.may_fault and not self._allow_faults):
            return None
        if self._settled and not self._stays_inside(index, effect):
            return None
        earlier = [before(location, effect) for location in results]
        known = tuple(location for location in earlier if location is not None)
        return (known, effect.sp_change) if len(known) == len(earlier) else None

    def _stays_inside(self, index: int, effect: Effect) -> bool:
        """Whether an instruction writes no memory but the function's own frame, below its return address."""
        depth = self._depths.before(index)
        return all(
            store.on_stack and depth is not None and store.offset + store.size <= depth for store in effect.stores
        )

    def _cross_call(self, call: Instruction, results: _Results) -> tuple[_Results, int] | None:
        target = call.near_branch_target
        if self._settled and call.ip in self._callees.harmless_calls:
            return None
        if call.ip in self._callees.harmless_calls or target in self._callees.harmless:
            ok = not any(isinstance(location, RegisterLocation) for location in results)
        elif target in self._callees.write_barriers:
            ok = all(
                location.name != "r11"
                if isinstance(location, RegisterLocation)
                else isinstance(location, Constant | StaticAddress)
                for location in results
            )
        else:
            ok = False
        return (results, 0) if ok else None

    def _cover_edges(self, b: int, results: _Results, depth: int, way: Exit) -> _Cover | None:
        block = self._graph.blocks[b]
        if b == 0 or not block.predecessors or block.cyclic:
            return None
        cover = _Cover([], set())
        for p in block.predecessors:
            part = self._cover_edge(p, b, results, depth, way)
            if part is None or len(cover.sites) + len(part.sites) > _MAX_SITES:
                return None
            cover.sites += part.sites
            cover.branches |= part.branches
        return cover

    def _cover_edge(self, p: int, b: int, results: _Results, depth: int, way: Exit) -> _Cover | None:
        """Sites for the way from block `p` into block `b`."""
        source = self._graph.blocks[p]
        if source.leave is None and len(source.successors) == 1:
            return self._cover(p, source.last, results, depth, way)
        branch = self._graph.instructions[source.last]
        if branch.flow_control != FlowControl.CONDITIONAL_BRANCH or source.cyclic or not self._cost(source.last).cheap:
            return None  # in a loop the jump may be passed any number of times
        taken = branch.near_branch_target == self._graph.instructions[self._graph.blocks[b].first].ip
        edge = Edge(_condition(self._graph, source.last), taken)
        return _Cover([self._site(source.last, depth, edge, way, results)], {p})

    # -- conditional jumps cost a hit in their other direction too ------------------------------------------------

    def _within_budget(self, covers: list[tuple[_Cover, ReturnSite]], idle_hits: int) -> list[ReturnSite]:
        """Takes the covers that make no path pass more than `idle_hits` jumps in vain, the deepest first.

        The way through a function that most calls take passes most of its checks, so it is the deepest exits whose
        conditional jump is hit least often in vain.
        """
        order = self._topological()
        rank = {b: i for i, b in enumerate(order)}
        covers.sort(key=lambda pair: -min(rank.get(b, 0) for b in pair[0].branches))
        chosen: set[int] = set()
        sites: list[ReturnSite] = []
        for cover, plain in covers:
            if self._most_on_a_path(chosen | cover.branches, order) <= idle_hits + 1:
                chosen |= cover.branches
                sites += cover.sites
            else:
                sites.append(plain)
        return sites

    def _topological(self) -> list[int]:
        """Reverse postorder from the entry."""
        seen = {0}
        order: list[int] = []
        work = [(0, iter(self._graph.blocks[0].successors))]
        while work:
            b, following = work[-1]
            for target in following:
                if target not in seen:
                    seen.add(target)
                    work.append((target, iter(self._graph.blocks[target].successors)))
                    break
            else:
                order.append(b)
                work.pop()
        return order[::-1]

    def _most_on_a_path(self, chosen: set[int], order: list[int]) -> int:
        """None of the chosen blocks is in a cycle, so edges that go back in the order do not matter."""
        most = dict.fromkeys(order, 0)
        for b in order:
            most[b] += b in chosen
            for target in self._graph.blocks[b].successors:
                most[target] = max(most[target], most[b])
        return max(most.values(), default=0)


def _condition(graph: FlowGraph, index: int) -> int:
    return graph.instructions[index].condition_code - 1  # iced counts from 1 in the order of the opcodes, 0 is none


def _merged(sites: list[ReturnSite]) -> list[ReturnSite]:
    """Both directions of a jump with the same results are one site without condition."""
    by_address: dict[int, list[ReturnSite]] = {}
    for site in sites:
        by_address.setdefault(site.address, []).append(site)
    merged: list[ReturnSite] = []
    for group in by_address.values():
        first = group[0]
        if (
            len(group) == 2
            and all(site.edge for site in group)
            and group[1].results == first.results
            and group[1].exit == first.exit
        ):
            merged.append(ReturnSite(first.address, first.cost, first.sp_offset, None, first.exit, first.results))
        else:
            merged += group
    return merged
