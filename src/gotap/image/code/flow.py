"""The flow graph of one function: basic blocks, the ways out of it, dominance, cycles."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum

from iced_x86 import Decoder, FlowControl, Instruction, Mnemonic, OpKind, Register, RegisterExt
from msgspec import Struct, field

from .callees import Callees
from .effects import CALLS, sp_change

#: Reads bytes of the image at a virtual address, relocations applied; None where the image has none.
Reader = Callable[[int, int], "bytes | None"]

_MAX_TABLE = 4096  # entries of a jump table; the compiler makes them for switches of 8 cases and more


class Leave(Enum):
    """How a block's last instruction leaves the function."""

    RETURN = "return"
    TAIL_JUMP = "tail jump"  # direct or indirect jump to another function
    TAIL_BRANCH = "tail branch"  # conditional jump to another function


class Block(Struct):
    """Instructions first … last of the function, entered at the first and left at the last only."""

    first: int
    last: int
    successors: list[int] = field(default_factory=list)
    predecessors: list[int] = field(default_factory=list)
    leave: Leave | None = None
    reachable: bool = False  # from the function's entry; what is not is dead, or where a recovered panic goes on
    cyclic: bool = False  # may be executed twice in one pass
    returns: bool = False  # a way out of the function can be reached
    restart: bool = False  # grows the stack and begins the function anew


def called_functions(code: bytes, address: int) -> set[int]:
    """Targets of the direct calls in the machine code at `address`."""
    return {one.near_branch_target for one in Decoder(64, code, ip=address) if one.flow_control == FlowControl.CALL}


class FlowGraph:
    """Basic blocks in address order; block 0 is the entry.

    `complete`: all edges are known. Without noreturn functions in `callees` there are edges that are never taken;
    that makes answers rarer, not wrong.
    """

    def __init__(self, code: bytes, address: int, callees: Callees, read: Reader | None) -> None:
        self.instructions: list[Instruction] = list(Decoder(64, code, ip=address))
        while len(self.instructions) > 1 and self.instructions[-1].mnemonic == Mnemonic.INT3:
            self.instructions.pop()  # padding between functions
        self.address = address
        self.end = address + len(code)
        self.complete = True
        self._callees = callees
        self._read = read
        self._index = {instruction.ip: i for i, instruction in enumerate(self.instructions)}
        self._targets: dict[int, list[int]] = {}  # index of a jump → indices of its targets within the function
        self._leaves: dict[int, Leave] = {}
        self._stops: set[int] = set()  # indices after which control does not go on to the next instruction
        self.blocks = self._cut(self._scan())
        self._firsts = [block.first for block in self.blocks]
        self._mark()

    def index_of(self, address: int) -> int | None:
        return self._index.get(address)

    def block_of(self, index: int) -> int:
        return bisect_right(self._firsts, index) - 1

    # -- construction ------------------------------------------------------------------------------------------

    def _scan(self) -> set[int]:
        """Finds all transfers of control; the indices at which blocks begin."""
        leaders = {0}
        indirect: list[int] = []
        for i, instruction in enumerate(self.instructions):
            flow = instruction.flow_control
            if flow == FlowControl.NEXT:
                continue
            if flow == FlowControl.CALL:
                if instruction.near_branch_target in self._callees.never_return:
                    self._stops.add(i)
                    leaders.add(i + 1)
                continue
            if flow == FlowControl.INDIRECT_CALL:
                continue
            leaders.add(i + 1)
            if flow != FlowControl.CONDITIONAL_BRANCH:
                self._stops.add(i)
            if flow == FlowControl.RETURN:
                self._leaves[i] = Leave.RETURN
            elif flow == FlowControl.INDIRECT_BRANCH:
                indirect.append(i)
            elif flow in (FlowControl.CONDITIONAL_BRANCH, FlowControl.UNCONDITIONAL_BRANCH):
                leaders.update(self._direct_jump(i))
        for i in indirect:
            leaders.update(self._indirect_jump(i))
        return {leader for leader in leaders if leader < len(self.instructions)}

    def _direct_jump(self, i: int) -> Sequence[int]:
        instruction = self.instructions[i]
        target = instruction.near_branch_target
        if (index := self._index.get(target)) is not None:
            self._targets[i] = [index]
            return (index,)
        inside = self.address <= target < self.end  # then it is the middle of an instruction
        if inside or not (instruction.is_jmp_short_or_near or instruction.is_jcc_short_or_near):
            self.complete = False
        elif instruction.flow_control == FlowControl.UNCONDITIONAL_BRANCH:
            self._leaves[i] = Leave.TAIL_JUMP
        else:
            self._leaves[i] = Leave.TAIL_BRANCH
        return ()

    def _indirect_jump(self, i: int) -> Sequence[int]:
        """A switch's table (`lea table(rip), r; jmp (r)(i*8)`, Go ≥ 1.19), or a tail call through a pointer."""
        jump = self.instructions[i]
        if jump.op0_kind == OpKind.REGISTER or jump.memory_index == Register.NONE:
            self._leaves[i] = Leave.TAIL_JUMP  # wrappers; FunctionCode checks that the frame is gone
            return ()
        targets = self._table_targets(i)
        if not targets:
            self.complete = False
        self._targets[i] = targets
        return targets

    def _table_targets(self, i: int) -> list[int]:
        jump = self.instructions[i]
        table = self._address_in(jump.memory_base, i)
        if self._read is None or table is None or jump.memory_index_scale != 8 or jump.memory_displacement:
            return []
        targets: list[int] = []
        for entry in range(_MAX_TABLE):  # reading on into a neighbouring table of this function only adds edges
            word = self._read(table + 8 * entry, 8)
            index = self._index.get(int.from_bytes(word, "little")) if word is not None and len(word) == 8 else None
            if index is None:
                break
            targets.append(index)
        return sorted(set(targets))

    def _address_in(self, register: int, before: int) -> int | None:
        """The static address that a `lea` has put into the register, right before and in the same block."""
        joins = {index for targets in self._targets.values() for index in targets}
        for i in range(before - 1, max(-1, before - 16), -1):
            instruction = self.instructions[i]
            if i + 1 in joins or i in self._stops or instruction.flow_control in CALLS:
                return None
            if instruction.op0_kind != OpKind.REGISTER:
                continue
            if RegisterExt.full_register(instruction.op0_register) == register:
                is_address = instruction.mnemonic == Mnemonic.LEA and instruction.is_ip_rel_memory_operand
                return instruction.ip_rel_memory_address if is_address else None
        return None

    def _cut(self, leaders: set[int]) -> list[Block]:
        starts = sorted(leaders)
        ends = [*starts[1:], len(self.instructions)]
        blocks = [Block(start, end - 1) for start, end in zip(starts, ends, strict=True)]
        number = {block.first: b for b, block in enumerate(blocks)}
        for b, block in enumerate(blocks):
            targets = [number[index] for index in self._targets.get(block.last, ())]
            if block.last not in self._stops and b + 1 < len(blocks):
                targets.insert(0, b + 1)
            block.successors = list(dict.fromkeys(targets))
            block.leave = self._leaves.get(block.last)
        self._separate_restarts(blocks)
        for b, block in enumerate(blocks):
            for target in block.successors:
                blocks[target].predecessors.append(b)
        return blocks

    def _separate_restarts(self, blocks: list[Block]) -> None:
        """Marks the blocks that call runtime.morestack: spills, one call, reloads, a jump to the entry.

        cmd/internal/obj/x86/obj6.go, stacksplit (Go 1.18–1.27), appends them to the finished body, so control never
        falls into them, though before them may stand a call that is not known never to return. Nothing of the frame
        exists there, and morestack keeps what the function was called with: closure register and stack arguments by
        itself, the rest by the spills.
        """
        for b, block in enumerate(blocks[1:], 1):
            if block.successors != [0] or block.last not in self._stops:
                continue
            instructions = self.instructions[block.first : block.last + 1]
            calls = sum(instruction.flow_control == FlowControl.CALL for instruction in instructions)
            block.restart = calls == 1 and not any(sp_change(instruction) for instruction in instructions)
            if block.restart and blocks[b - 1].successors == [b] and blocks[b - 1].last not in self._targets:
                blocks[b - 1].successors = []
                self._stops.add(blocks[b - 1].last)

    # -- questions ---------------------------------------------------------------------------------------------

    def first_of(self, blocks: Collection[int]) -> int | None:
        """The one of these blocks that every path to another of them passes; None: there is none."""
        live = {b for b in blocks if self.blocks[b].reachable}
        if not live:
            return None
        candidate = self._first_met(live)
        return candidate if self.reached([0], candidate).isdisjoint(live - {candidate}) else None

    def reached(self, starts: Iterable[int], avoid: int) -> set[int]:
        """Blocks on paths from these, themselves included, that do not go through `avoid`."""
        seen = {b for b in starts if b != avoid}
        todo = list(seen)
        while todo:
            for target in self.blocks[todo.pop()].successors:
                if target != avoid and target not in seen:
                    seen.add(target)
                    todo.append(target)
        return seen

    def _first_met(self, blocks: Collection[int]) -> int:
        """The first of these on some path from the entry: no other of them can be passed always before it."""
        seen, todo = {0}, deque([0])
        while todo:
            b = todo.popleft()
            if b in blocks:
                return b
            following = [target for target in self.blocks[b].successors if target not in seen]
            seen.update(following)
            todo.extend(following)
        return min(blocks)

    # -- properties --------------------------------------------------------------------------------------------

    def _mark(self) -> None:
        for b in self._reach([0], lambda block: block.successors):
            self.blocks[b].reachable = True
        exits = [b for b, block in enumerate(self.blocks) if block.leave]
        for b in self._reach(exits, lambda block: block.predecessors):
            self.blocks[b].returns = True
        for block in self.blocks:
            runs_off = not block.successors and not block.leave and block.last not in self._stops
            if block.reachable and (runs_off or self.instructions[block.last].is_invalid):
                self.complete = False
        for component in strong_components([block.successors for block in self.blocks]):
            for b in component:
                self.blocks[b].cyclic = len(component) > 1 or b in self.blocks[b].successors

    def _reach(self, roots: Sequence[int], following: Callable[[Block], Sequence[int]]) -> set[int]:
        seen, todo = set(roots), list(roots)
        while todo:
            for b in following(self.blocks[todo.pop()]):
                if b not in seen:
                    seen.add(b)
                    todo.append(b)
        return seen

    def always_passed(self) -> list[int]:
        """Blocks that every path from entry to a way out passes, in the order in which they are passed.

        Only what is reachable from the entry and can still leave counts. Empty when the graph is not complete.
        """
        live = [b for b, block in enumerate(self.blocks) if block.reachable and block.returns]
        if not self.complete or 0 not in live:
            return []
        end = len(self.blocks)
        keep = set(live)
        predecessors: list[list[int]] = [[] for _ in range(end + 1)]
        for b in live:
            block = self.blocks[b]
            for target in block.successors:
                if target in keep:
                    predecessors[target].append(b)
            if block.leave:
                predecessors[end].append(b)
        return dominators_of(end, predecessors)[:-1]


def strong_components(successors: Sequence[Sequence[int]]) -> list[list[int]]:
    """Tarjan's strongly connected components, without recursion."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    components: list[list[int]] = []
    for root in range(len(successors)):
        if root in order:
            continue
        work = [(root, iter(successors[root]))]
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, following = work[-1]
            for target in following:
                if target not in order:
                    order[target] = low[target] = len(order)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(successors[target])))
                    break
                if target in on_stack:
                    low[node] = min(low[node], order[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    at = stack.index(node)
                    components.append(stack[at:])
                    on_stack.difference_update(stack[at:])
                    del stack[at:]
    return components


def dominators_of(node: int, predecessors: Sequence[Sequence[int]]) -> list[int]:
    """The nodes that every path from node 0 to `node` passes, in order, both included.

    Every node that is a predecessor of another must be reachable from node 0. Linear time: along any one path, a node
    is passed always when no detour off the path leads from before it to behind it.
    """
    successors: list[list[int]] = [[] for _ in predecessors]
    for target, sources in enumerate(predecessors):
        for source in sources:
            successors[source].append(target)
    path = _shortest_path(0, node, successors)
    position = {block: i for i, block in enumerate(path)}
    passed: list[int] = []
    seen = {0}
    furthest = 0  # position on the path that detours from before the current node reach
    for i, block in enumerate(path):
        if furthest <= i:
            passed.append(block)
        todo = [block]
        while todo:
            for target in successors[todo.pop()]:
                if target in position:
                    furthest = max(furthest, position[target])
                elif target not in seen:
                    seen.add(target)
                    todo.append(target)
    return passed


def _shortest_path(start: int, goal: int, successors: Sequence[Sequence[int]]) -> list[int]:
    came: dict[int, int] = {start: start}
    frontier = [start]
    while goal not in came:
        following: list[int] = []
        for node in frontier:
            for target in successors[node]:
                if target not in came:
                    came[target] = node
                    following.append(target)
        if not following:
            raise ValueError("no path")
        frontier = following
    path = [goal]
    while path[-1] != start:
        path.append(came[path[-1]])
    return path[::-1]
