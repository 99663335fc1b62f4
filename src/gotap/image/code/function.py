"""One function's machine code, and the sites in it that probes ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import copy

from iced_x86 import FlowControl, Mnemonic, OpKind

from gotap.image.errors import NoCode

from .callees import NO_CALLEES, Callees
from .cost import cost_of
from .effects import CALLS, REGISTER_NAMES, REGISTER_NUMBERS, RSP, Mem, Reg, combines
from .flow import FlowGraph, Leave, Reader
from .frame import ARGUMENT_REGISTERS, CLOSURE_REGISTER, StackDepths, WordTracker
from .model import CallSite, Cost, Edge, EntrySite, Location, Restart, ReturnSite, Site, Word
from .returns import ReturnFinder

#: What an entry site must find untouched: Go's ABIInternal (cmd/compile/abi-internal.md, Go 1.18–1.27).
_ENTRY_REGISTERS = frozenset(
    REGISTER_NUMBERS[name] for name in (*ARGUMENT_REGISTERS, CLOSURE_REGISTER, "r14", *(f"xmm{i}" for i in range(15)))
)


#: Instructions between the store of the defer bits and the call, at most.
_DEFER_DISTANCE = 6


class FunctionCode:
    """The machine code of one Go function on amd64, from its entry to the entry of the next, padding included.

    `callees` tells which called functions never return and which are harmless to cross; `read` reads the image
    (for the tables of switches), relocations applied; `long_nops`: see cost_of. Without them fewer sites are found.
    Nothing here is a guess: what cannot be proven is not offered, or is the plain `ret` or first instruction.
    Raises NoCode.
    """

    def __init__(
        self,
        code: bytes,
        address: int,
        *,
        callees: Callees = NO_CALLEES,
        read: Reader | None = None,
        long_nops: bool = True,
    ) -> None:
        if not code:
            raise NoCode(address)
        self._code = code
        self._long_nops = long_nops
        self._callees = callees
        self.address = address
        self.graph = FlowGraph(code, address, callees, read)
        self.depths = StackDepths(self.graph)
        self._tracker = WordTracker(self.graph, self.depths, callees)
        self._writes_below_sp: bool | None = None
        self._costs: dict[int, Cost] = {}
        self._price: Callable[[int], Cost] | None = None
        self._check_indirect_tails()

    @property
    def complete(self) -> bool:
        """Whether all ways through the function are known; if not, only entry sites and plain returns are offered."""
        return self.graph.complete

    def bytes_at(self, address: int, size: int) -> bytes:
        """Bytes of the function's code, from an address within it on."""
        start = address - self.address
        return self._code[start : start + size]

    def _check_indirect_tails(self) -> None:
        for block in self.graph.blocks:
            if block.leave == Leave.TAIL_JUMP and block.reachable:
                indirect = self.graph.instructions[block.last].flow_control == FlowControl.INDIRECT_BRANCH
                if indirect and self.depths.before(block.last) != 0:
                    self.graph.complete = False

    # -- costs -------------------------------------------------------------------------------------------------

    def cost_at(self, address: int) -> Cost:
        """The cost of a uprobe on the instruction at `address`; FORBIDDEN where no instruction begins."""
        index = self.graph.index_of(address)
        return self._cost(index) if index is not None else Cost.FORBIDDEN

    def priced(self, cost: Callable[[int], Cost]) -> FunctionCode:
        """The same code with other costs, by instructions' addresses: so sites are chosen for something else."""
        other = copy(self)
        other._costs = {}
        other._price = cost
        return other

    def _cost(self, index: int) -> Cost:
        if (known := self._costs.get(index)) is not None:
            return known
        instruction = self.graph.instructions[index]
        if self._price is not None:
            return self._costs.setdefault(index, self._price(instruction.ip))
        start = instruction.ip - self.address
        cost = cost_of(self._code[start : start + instruction.len], instruction.ip, long_nops=self._long_nops)
        if cost == Cost.NOP5 and self._uses_red_zone():
            cost = Cost.FORBIDDEN  # the call that replaces the nop writes below SP
        return self._costs.setdefault(index, cost)

    def _uses_red_zone(self) -> bool:
        """Go leaves memory below SP alone, but for calls of duffzero and duffcopy up to Go 1.20, and some assembly."""
        if self._writes_below_sp is None:
            self._writes_below_sp = any(
                instruction.memory_base == RSP
                and instruction.memory_displacement >> 63
                and instruction.mnemonic != Mnemonic.LEA
                for instruction in self.graph.instructions
            )
        return self._writes_below_sp

    # -- sites -------------------------------------------------------------------------------------------------

    def entry_site(self) -> EntrySite | None:
        """The cheapest place that every call passes once, before anything of what it was called with has changed.

        Behind the stack check if there is one, since growing the stack begins the function anew: the `push %rbp`
        of Go ≥ 1.21, or the not-taken edge of the check's last jump. None: no instruction can carry a probe.
        """
        found: list[EntrySite] = []
        b: int | None = 0
        visited: set[int] = set()
        while b is not None and b not in visited:
            visited.add(b)
            b = self._entry_block(b, found)
        if found:
            return min(found, key=lambda site: (site.cost, site.edge is not None))
        first = self._cost(0)
        return None if first == Cost.FORBIDDEN else EntrySite(self.address, first, 0, once=False)

    def _entry_block(self, b: int, found: list[EntrySite]) -> int | None:
        """Adds the candidates of one block of the prologue; the next block, or None where the prologue ends."""
        graph, block = self.graph, self.graph.blocks[b]
        for i in range(block.first, block.last + 1):
            cost, depth = self._cost(i), self.depths.before(i)
            if not block.cyclic and cost != Cost.FORBIDDEN and depth is not None:
                found.append(EntrySite(graph.instructions[i].ip, cost, depth))
            if not graph.complete and depth:
                return None  # an unknown jump may lead back to here
            if not self._keeps_entry(i, depth):
                return None
        if len(block.successors) == 1 and block.leave is None:
            return block.successors[0]
        onward = [target for target in block.successors if not graph.blocks[target].restart]
        branch = graph.instructions[block.last]
        if len(onward) != 1 or len(block.successors) != 2 or not branch.is_jcc_short_or_near:
            return None
        depth, cost = self.depths.before(block.last), self._cost(block.last)
        taken = branch.near_branch_target == graph.instructions[graph.blocks[onward[0]].first].ip
        if not graph.blocks[onward[0]].cyclic and depth is not None and cost != Cost.FORBIDDEN:
            found.append(EntrySite(branch.ip, cost, depth, Edge(branch.condition_code - 1, taken)))
        return onward[0]

    def _keeps_entry(self, index: int, depth: int | None) -> bool:
        """Whether an instruction cannot fail and leaves everything as the caller left it, outside of the own frame."""
        effect = self._tracker.effect(index)
        if effect.opaque or effect.may_fault or depth is None or not _ENTRY_REGISTERS.isdisjoint(effect.written):
            return False
        return all(store.on_stack and store.offset - depth + store.size <= 0 for store in effect.stores)

    def writes(self, register: str) -> bool:
        """Whether an instruction of its own, no call, changes a register."""
        number = REGISTER_NUMBERS[register]
        return any(number in self._tracker.effect(i).written for i in range(len(self.graph.instructions)))

    def restarts(self) -> list[Restart]:
        """The places from which the function begins anew; none in one that does not check its stack."""
        found = []
        for block in self.graph.blocks:
            if not block.restart:
                continue
            inside = range(block.first, block.last + 1)
            call = next((i for i in inside if self.graph.instructions[i].flow_control in CALLS), None)
            if call is None:
                continue
            kept = set()
            for i in range(call + 1, block.last + 1):
                copy = self._tracker.effect(i).copy
                if copy is not None and isinstance(copy.target, Reg) and isinstance(copy.source, Mem):
                    kept.add(REGISTER_NAMES[copy.target.number])
            site = Site(self.graph.instructions[call].ip, self._cost(call), self.depths.before(call))
            found.append(Restart(site, frozenset(kept)))
        return found

    def call_sites(self, targets: Collection[int] | None = None) -> list[CallSite]:
        """Direct calls of these functions, in address order; None: every call, those through pointers with target 0."""
        calls = [
            i
            for i, instruction in enumerate(self.graph.instructions)
            if instruction.flow_control in CALLS and (targets is None or instruction.near_branch_target in targets)
        ]
        always = set(self.graph.always_passed()) if calls else set()
        sites: list[CallSite] = []
        for i in calls:
            b = self.graph.block_of(i)
            instruction = self.graph.instructions[i]
            once = self.graph.complete and not self.graph.blocks[b].cyclic
            sites.append(
                CallSite(
                    instruction.ip,
                    self._cost(i),
                    self.depths.before(i),
                    target=instruction.near_branch_target,
                    always=b in always,
                    once=once,
                )
            )
        return sites

    def late_site(self) -> Site | None:
        """The last cheap instruction that every path from entry to a return or tail call passes, once; None: none.

        That is said of calls without a panic: one that is recovered may skip the site or pass it again.
        """
        for b in reversed(self.graph.always_passed()):
            block = self.graph.blocks[b]
            if block.cyclic:
                continue
            for i in range(block.last, block.first - 1, -1):
                if self._cost(i).cheap:
                    return Site(self.graph.instructions[i].ip, self._cost(i), self.depths.before(i))
        return None

    def deferred_calls(self) -> list[int]:
        """Addresses of the calls of open-coded deferred functions at the function's normal exits.

        Each follows a store of the remaining defer bits, a byte on the stack (cmd/compile/internal/ssagen/ssa.go,
        openDeferExit, Go 1.18–1.27); between them only the closure is loaded.
        """
        found = []
        instructions = self.graph.instructions
        for index, instruction in enumerate(instructions):
            if instruction.flow_control not in CALLS:
                continue
            for before in reversed(instructions[max(0, index - _DEFER_DISTANCE) : index]):
                if before.mnemonic != Mnemonic.MOV:
                    break
                if before.op0_kind == OpKind.MEMORY and before.op1_kind == OpKind.IMMEDIATE8:
                    if before.memory_base == RSP:
                        found.append(instruction.ip)
                    break
        return found

    def return_sites(
        self,
        results: Sequence[Word] = (),
        *,
        idle_hits: int = 1,
        allow_faults: bool = False,
        settled: bool = False,
    ) -> list[ReturnSite]:
        """Sites of which exactly one fires, once, whenever the function is left other than by a panic.

        `results`: registers, or offsets from SP at entry, that hold the results at the return. A conditional jump
        fires for its other direction too: no path hits more than `idle_hits` of them in vain. `allow_faults`: memory
        that a pointer leads to may be touched between site and return; should that fault, the site has fired and a
        panic follows. `settled`: nothing is written any more behind the site, but in the function's own frame: what
        results lead to is as the caller finds it. Two sites of one address are the two directions of one jump.
        """
        finder = ReturnFinder(
            self.graph,
            self.depths,
            self._tracker,
            self._callees,
            self._cost,
            allow_faults=allow_faults,
            settled=settled,
        )
        return finder.find(results, idle_hits)

    def after_call(
        self, address: int, results: Sequence[Word], *, allow_faults: bool = False
    ) -> ReturnSite | None:
        """A cheap site behind the call at `address` at which the callee's results (registers) are still known.

        It fires once for every return of the callee to this call, and for nothing else. None: there is none.
        `allow_faults`: memory that a pointer leads to may be touched before; should that fault, it does not fire.
        Of cheap instructions the first is taken, unless one of the cheapest follows and nothing can fault before it.
        """
        index = self.graph.index_of(address)
        if index is None or not self.graph.complete or self.graph.instructions[index].flow_control not in CALLS:
            return None
        state = self._tracker.initial(results)
        b = self.graph.block_of(index)
        i = index + 1
        found: ReturnSite | None = None
        while True:
            if i > self.graph.blocks[b].last:
                successors = self.graph.blocks[b].successors
                if len(successors) != 1 or self.graph.blocks[successors[0]].predecessors != [b]:
                    return found
                b = successors[0]
                i = self.graph.blocks[b].first
            effect = self._tracker.effect(i)
            places = self._tracker.locations(state, i, results)
            if None in places:
                return found
            if self._cost(i) < (found.cost if found is not None else Cost.SINGLE_STEP):
                found = ReturnSite(
                    self.graph.instructions[i].ip, self._cost(i), self.depths.before(i), results=tuple(places)
                )
            if found is not None and found.cost is Cost.NOP5:
                return found
            if effect.opaque or (effect.may_fault and not (allow_faults and found is None)):
                return found
            self._tracker.step(state, i)
            i += 1

    def site_at(self, index: int) -> Site:
        """The instruction of that index as a site."""
        return Site(self.graph.instructions[index].ip, self._cost(index), self.depths.before(index))

    def cheapest_from(self, index: int) -> Site:
        """The cheapest instruction of those that are executed as often as the one of that index, and not before it.

        A call may end by panic, so that what is behind it does not count.
        """
        last = self.graph.blocks[self.graph.block_of(index)].last
        candidates = []
        for i in range(index, last + 1):
            candidates.append(i)
            if self.graph.instructions[i].flow_control in CALLS:
                break
        return self.site_at(min(candidates, key=lambda i: (self._cost(i), i)))

    def first_of(self, ranges: Sequence[tuple[int, int]], preferred: Collection[int]) -> tuple[int, bool] | None:
        """Of the instructions in these ranges of addresses the index of the first on every path to another of them.

        `preferred`: addresses that are taken rather than others of the same block. False: there is none that all paths
        pass, and it is the first by address. None: no instruction that can be reached begins there.
        """
        graph = self.graph
        own = [
            i for i, one in enumerate(graph.instructions)
            if any(low <= one.ip < high for low, high in ranges) and graph.blocks[graph.block_of(i)].reachable
        ]  # fmt: skip
        chosen = [i for i in own if graph.instructions[i].ip in preferred] or own
        if not chosen:
            return None
        first = graph.first_of({graph.block_of(i) for i in chosen})
        if first is None:
            return chosen[0], False
        return next(i for i in chosen if graph.block_of(i) == first), True

    def stores(self, index: int) -> bool:
        """Whether the instruction of that index writes to memory other than the stack."""
        return any(not store.on_stack for store in self._tracker.effect(index).stores)

    def combines(self, index: int) -> bool:
        """Whether the instruction of that index computes a register from two others."""
        return combines(self.graph.instructions[index])

    def words_at(self, address: int, words: Sequence[Word] = ARGUMENT_REGISTERS) -> tuple[Location | None, ...]:
        """Where these words of the function's entry are kept at `address`; None where that is not known."""
        index = self.graph.index_of(address)
        if index is None or not self.graph.complete:
            return (None,) * len(words)
        return self._tracker.locate(index, words)
