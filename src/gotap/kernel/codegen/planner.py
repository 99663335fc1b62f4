"""Finds what a program reads more than once and gives it a place in the row's scratch.

Several loads from one base become one read of the bytes between them (a *block*): a read of user memory costs about
the same for 8 bytes and for 300. Words that are costly to compute (map elements, unwrapped errors) are computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from gotap.kernel.codegen import frame
from gotap.probe import ir

#: A block may span this many bytes.
LARGEST_BLOCK = 320


class Block(Struct, frozen=True):
    """`size` bytes from `base + start`, at `place` in the row; the word before `place` is 1 when they were read."""

    base: ir.Word
    start: int
    size: int
    place: int

    @property
    def valid(self) -> int:
        return self.place - 8


class Lookup(Struct, frozen=True):
    """Elements of one map, found in one pass: key → place of the element's address (0: absent)."""

    map: ir.Word
    layout: ir.BucketLayout | ir.SwissLayout
    places: tuple[tuple[bytes, int], ...]


class Chain(Struct, frozen=True):
    """An unwrapped error: type word at `place`, data word behind it; type 0: nil or unreadable."""

    unwrapped: ir.Unwrapped
    place: int


Step = Block | Lookup | Chain


class Plan(Struct):
    """Steps in the order in which they must run, and where their results are."""

    steps: list[Step] = field(default_factory=list)
    blocks: dict[ir.Word, Block] = field(default_factory=dict)
    elements: dict[ir.MapElement, int] = field(default_factory=dict)
    chains: dict[ir.Unwrapped, int] = field(default_factory=dict)


def children(word: ir.Word) -> tuple[ir.Word, ...]:
    match word:
        case ir.Load(base):
            return (base,)
        case ir.MapElement(map):
            return (map,)
        case ir.Unwrapped(type, data):
            return (type, data)
        case ir.Subtract(left, right) | ir.Add(left, right) | ir.Compare(_, left, right) | ir.Logic(_, left, right):
            return (left, right)
        case ir.TextEquals(text):
            return (text.pointer, text.length)
        case ir.Not(operand) | ir.Log2(operand):
            return (operand,)
        case _:
            return ()


def words_of(alternatives: Iterable[ir.Alternative]) -> Iterator[ir.Word]:
    for alternative in alternatives:
        yield from alternative.conditions
        value = alternative.value
        if isinstance(value, ir.Text):
            yield from (value.pointer, value.length)
        else:
            yield value


def plan(roots: Iterable[ir.Word]) -> Plan:
    """A plan for everything the words need; what does not fit into the scratch is simply read each time."""
    return _Planner(roots).plan()


class _Planner:
    def __init__(self, roots: Iterable[ir.Word]) -> None:
        self.words: dict[ir.Word, int] = {}  # every word below the roots → its height, children first
        for root in roots:
            self.visit(root)
        self.next = frame.PLANNED

    def visit(self, word: ir.Word) -> int:
        if word not in self.words:
            height = 1 + max((self.visit(child) for child in children(word)), default=0)
            self.words[word] = height
        return self.words[word]

    def reserve(self, size: int) -> int | None:
        if self.next + size > frame.PLANNED_END:
            return None
        place = self.next
        self.next += -(-size // 8) * 8
        return place

    def plan(self) -> Plan:
        found = Plan()
        candidates: list[tuple[int, Step]] = [*self.lookups(found), *self.chains(found), *self.blocks(found)]
        found.steps = [step for _, step in sorted(candidates, key=lambda pair: pair[0])]
        return found

    def lookups(self, found: Plan) -> Iterator[tuple[int, Step]]:
        groups: dict[tuple[ir.Word, ir.BucketLayout | ir.SwissLayout], list[bytes]] = {}
        for word in self.words:
            if isinstance(word, ir.MapElement):
                groups.setdefault((word.map, word.layout), []).append(word.key)
        for (map, layout), keys in groups.items():
            place = self.reserve(8 * len(keys))
            assert place is not None, "scratch is too small for the map keys of one probe"
            places = tuple((key, place + 8 * index) for index, key in enumerate(keys))
            for key, at in places:
                found.elements[ir.MapElement(map, layout, key)] = at
            yield self.words[map] + 1, Lookup(map, layout, places)

    def chains(self, found: Plan) -> Iterator[tuple[int, Step]]:
        for word in list(self.words):
            if isinstance(word, ir.Unwrapped):
                first = ir.Unwrapped(word.type, word.data, word.wrappers, 0)
                if first not in found.chains:
                    place = self.reserve(16)
                    assert place is not None, "scratch is too small for the errors of one probe"
                    found.chains[first] = place
                    yield self.words[word], Chain(first, place)

    def blocks(self, found: Plan) -> Iterator[tuple[int, Step]]:
        loads: dict[ir.Word, list[ir.Load]] = {}
        for word in self.words:
            if isinstance(word, ir.Load):
                loads.setdefault(word.base, []).append(word)
        for base, group in loads.items():
            start = min(load.offset for load in group)
            size = max(load.offset + load.size for load in group) - start
            if len(group) < 2 or size > LARGEST_BLOCK:
                continue
            place = self.reserve(8 + size)
            if place is not None:
                block = Block(base, start, size, place + 8)
                found.blocks[base] = block
                yield self.words[base] + 1, block
