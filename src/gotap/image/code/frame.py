"""The stack of one function: how deep it is at every instruction, and where words of the entry are kept."""

from __future__ import annotations

from collections.abc import Sequence

from iced_x86 import FlowControl, Instruction, Mnemonic, OpKind, Register
from msgspec import Struct

from .callees import Callees
from .effects import CALLS, GPR_NAMES, REGISTER_NAMES, REGISTER_NUMBERS, RSP, Effect, Mem, Reg, effect_of, sp_change
from .flow import FlowGraph, Leave
from .model import Location, Stack, Word
from .model import Register as RegisterLocation


class StackDepths:
    """SP at entry minus SP, in bytes, before every instruction; None where it cannot be known."""

    def __init__(self, graph: FlowGraph) -> None:
        self._graph = graph
        self._changes = [self._change(instruction) for instruction in graph.instructions]
        self._at_block: list[int | None] = [None] * len(graph.blocks)
        self._forward()
        self._backward()
        self._before = self._spread()

    def before(self, index: int) -> int | None:
        return self._before[index]

    @staticmethod
    def _change(instruction: Instruction) -> int | None:
        if (
            instruction.op0_kind == OpKind.REGISTER and instruction.op0_register == RSP
        ) or instruction.is_stack_instruction:
            return sp_change(instruction)
        return None if instruction.mnemonic == Mnemonic.XCHG and instruction.op1_register == RSP else 0

    def _spread(self) -> list[int | None]:
        depths: list[int | None] = []
        for block, at_block in zip(self._graph.blocks, self._at_block, strict=True):
            depth = at_block
            for change in self._changes[block.first : block.last + 1]:
                depths.append(depth)
                depth = None if depth is None or change is None else depth - change
        return depths

    def _through(self, b: int, depth: int | None) -> int | None:
        block = self._graph.blocks[b]
        for change in self._changes[block.first : block.last + 1]:
            depth = None if depth is None or change is None else depth - change
        return depth

    def _forward(self) -> None:
        conflicts: set[int] = set()
        known: dict[int, int | None] = {0: 0}
        todo = [0]
        while todo:
            b = todo.pop()
            depth = self._through(b, known[b])
            for target in self._graph.blocks[b].successors:
                if target not in known:
                    known[target] = depth
                    todo.append(target)
                elif known[target] != depth and target not in conflicts:
                    conflicts.add(target)
                    known[target] = None
                    todo.append(target)
        for b, at in known.items():
            self._at_block[b] = at

    def _backward(self) -> None:
        """Blocks that only a recovered panic reaches: their depth follows from that at their return, which is 0."""
        for b in reversed(range(len(self._graph.blocks))):
            block = self._graph.blocks[b]
            if block.reachable or not block.returns:
                continue
            if block.leave == Leave.RETURN:
                after: int | None = 0
                changes = self._changes[block.first : block.last]
            elif len(block.successors) == 1:
                after = self._at_block[block.successors[0]]
                changes = self._changes[block.first : block.last + 1]
            else:
                continue
            if after is not None and None not in changes:
                self._at_block[b] = after + sum(change for change in changes if change is not None)


_Key = tuple[bool, int]  # (False, register number) or (True, offset from SP at entry)
State = dict[_Key, Word]  # where words are kept at one point; what is not named is unknown


class _Escapes(Struct, frozen=True):
    """Offsets from SP at entry at which the address of something on the stack is taken."""

    offsets: tuple[int, ...]
    everything: bool

    def may_reach(self, offset: int) -> bool:
        """Whether a pointer may lead there: into an object that begins no higher, on its side of the return address."""
        return self.everything or any(start <= offset and (start >= 0) == (offset >= 0) for start in self.offsets)


class WordTracker:
    """Follows whole words that nothing but plain copies touch, forward through the code."""

    def __init__(self, graph: FlowGraph, depths: StackDepths, callees: Callees) -> None:
        self._graph = graph
        self._depths = depths
        self._callees = callees
        self._effects: dict[int, Effect] = {}
        self._escaping: _Escapes | None = None
        self._entry: dict[tuple[Word, ...], dict[int, State]] = {}

    def effect(self, index: int) -> Effect:
        if (known := self._effects.get(index)) is not None:
            return known
        return self._effects.setdefault(index, effect_of(self._graph.instructions[index]))

    @staticmethod
    def initial(words: Sequence[Word]) -> State:
        return {(False, REGISTER_NUMBERS[word]) if isinstance(word, str) else (True, word): word for word in words}

    def locate(self, index: int, words: Sequence[Word]) -> tuple[Location | None, ...]:
        """Where these words of the function's entry are, just before the instruction."""
        key = tuple(words)
        if key not in self._entry:
            self._entry[key] = self._flow(self.initial(words))
        b = self._graph.block_of(index)
        state = dict(self._entry[key].get(b, {}))
        for i in range(self._graph.blocks[b].first, index):
            self.step(state, i)
        return self.locations(state, index, words)

    def locations(self, state: State, index: int, words: Sequence[Word]) -> tuple[Location | None, ...]:
        found: dict[Word, Location] = {}
        depth = self._depths.before(index)
        for (on_stack, at), word in sorted(state.items()):
            if not on_stack:
                found.setdefault(word, RegisterLocation(REGISTER_NAMES[at]))
            elif depth is not None:
                found.setdefault(word, Stack(at + depth))
        return tuple(found.get(word) for word in words)

    def _flow(self, entry: State) -> dict[int, State]:
        states: dict[int, State] = {0: entry}
        todo = [0]
        while todo:
            b = todo.pop()
            block = self._graph.blocks[b]
            if block.restart:
                continue
            state = dict(states[b])
            for i in range(block.first, block.last + 1):
                self.step(state, i)
            for target in block.successors:
                old = states.get(target)
                new = state if old is None else {key: word for key, word in old.items() if state.get(key) == word}
                if old is None or len(new) != len(old):
                    states[target] = dict(new)
                    todo.append(target)
        return states

    def step(self, state: State, index: int) -> None:
        """What is kept where after the instruction."""
        instruction = self._graph.instructions[index]
        if instruction.flow_control in CALLS:
            self._call(state, instruction)
            return
        effect = self.effect(index)
        if effect.opaque:
            state.clear()
            return
        if not effect.written and not effect.stores:
            return
        depth = self._depths.before(index)
        moved = self._copied(state, effect, depth)
        for key in [key for key in state if self._changed(key, effect, depth)]:
            del state[key]
        if moved is not None:
            key, word = moved
            state[key] = word

    def _copied(self, state: State, effect: Effect, depth: int | None) -> tuple[_Key, Word] | None:
        if effect.copy is None:
            return None
        source, target = self._key(effect.copy.source, depth), self._key(effect.copy.target, depth)
        word = state.get(source) if source is not None else None
        return (target, word) if target is not None and word is not None else None

    @staticmethod
    def _key(operand: object, depth: int | None) -> _Key | None:
        if isinstance(operand, Reg) and operand.size == 8:
            return False, operand.number
        if isinstance(operand, Mem) and operand.on_stack and operand.size == 8 and depth is not None:
            return True, operand.offset - depth
        return None

    def _changed(self, key: _Key, effect: Effect, depth: int | None) -> bool:
        on_stack, at = key
        if not on_stack:
            return at in effect.written
        for store in effect.stores:
            if store.on_stack and depth is not None:
                if store.offset - depth < at + 8 and at < store.offset - depth + store.size:
                    return True
            elif store.base == RSP or (not store.static and self._escapes().may_reach(at)):
                return True
        return False

    def _call(self, state: State, instruction: Instruction) -> None:
        """Callees may change every register, the area of outgoing arguments, and what pointers lead to."""
        target = instruction.near_branch_target if instruction.flow_control == FlowControl.CALL else 0
        for key in list(state):
            on_stack, at = key
            if target in self._callees.write_barriers:
                lost = at == Register.R11 if not on_stack else self._escapes().may_reach(at)
            elif on_stack:
                lost = target not in self._callees.harmless and (at < 0 or self._escapes().may_reach(at))
            else:
                lost = True
            if lost:
                del state[key]

    def _escapes(self) -> _Escapes:
        if self._escaping is None:
            offsets: list[int] = []
            everything = False
            for i, instruction in enumerate(self._graph.instructions):
                if instruction.mnemonic == Mnemonic.LEA and instruction.memory_base == RSP:
                    depth = self._depths.before(i)
                    if instruction.op0_register in (Register.RBP, RSP):
                        continue  # frame pointer, of no use but for unwinding; or the stack itself
                    everything |= depth is None
                    displacement = instruction.memory_displacement
                    offsets.append(displacement - (displacement >> 63 << 64) - (depth or 0))
                elif instruction.mnemonic == Mnemonic.MOV and instruction.op1_register == RSP:
                    # The check of a huge frame computes in R12 (R13 unused), Go 1.18–1.27.
                    everything |= instruction.op0_register not in (Register.RBP, Register.R12)
            self._escaping = _Escapes(tuple(offsets), everything)
        return self._escaping


ARGUMENT_REGISTERS = ("rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11")
CLOSURE_REGISTER = "rdx"
assert set(ARGUMENT_REGISTERS) < set(GPR_NAMES.values())
