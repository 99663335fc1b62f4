"""Finds what a program reads more than once and gives it a place in the row's scratch.

Several loads from one base become one read of the bytes between them (a *block*): a read of user memory costs about
the same for 8 bytes and for 300. Words that are costly to compute (map elements, unwrapped errors) are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, field

from gotap.bpf.asm import AssemblerError
from gotap.bpf.codegen.memory import ROW, Memory
from gotap.probe import ir

#: A block may span this many bytes.
LARGEST_BLOCK = 320
#: What is taken of a map element while its group or bucket is at hand.
LARGEST_ELEMENT = 32


class Block(Struct, frozen=True):
    """`size` bytes from `base + start`, at `place` in the row or on the stack; `valid`: a word in the row, 1: read."""

    base: ir.Word
    start: int
    size: int
    place: int
    valid: int
    on_stack: bool


class Lookup(Struct, frozen=True):
    """Elements of one map, found in one pass: key, place of the element's address (0: absent), words of the element."""

    map: ir.Word
    layout: ir.BucketLayout | ir.SwissLayout
    places: tuple[tuple[bytes, int, Block | None], ...]


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
        case ir.Arithmetic(_, left, right):
            return (left, right)
        case ir.Conditional(when, then, otherwise):
            return (when, then, otherwise)
        case ir.TextEquals(text):
            return (text.pointer, text.length)
        case ir.TextsEqual(left, right):
            return (*words_of_key(left), *words_of_key(right))
        case ir.Stored(_, keys):
            return tuple(word for key in keys for word in words_of_key(key))
        case ir.Not(operand) | ir.Log2(operand) | ir.Linear(operand) | ir.LogLinear(operand):
            return (operand,)
        case _:
            return ()


def words_of_key(key: ir.Key) -> tuple[ir.Word, ...]:
    """What is evaluated for a key, a text or a word."""
    match key:
        case ir.Text(pointer, length):
            return (pointer, length)
        case ir.CText(pointer):
            return (pointer,)
        case ir.StoredText(_, keys):
            return tuple(word for one in keys for word in words_of_key(one))
        case ir.Chosen(alternatives):
            return tuple(words_of(alternatives))
        case ir.ConstText() | ir.AmbientText() | ir.KeptText() | ir.OwnText() | ir.RecordText() | ir.Stack():
            return ()
        case _:
            return (key,)


def words_of(alternatives: Iterable[ir.Alternative]) -> Iterator[ir.Word]:
    for alternative in alternatives:
        yield from alternative.conditions
        yield from words_of_key(alternative.value)


def stable(word: ir.Word) -> bool:
    """Whether a script's word is the same wherever one firing evaluates it."""
    match word:
        case ir.Local() | ir.Own() | ir.Stored() | ir.Ambient("nsecs" | "latency" | "ended") | ir.TraceWord():
            return False
        case _:
            return all(stable(child) for child in children(word))


def plan(
    roots: Iterable[ir.Word], memory: Memory = ROW, stable: Callable[[ir.Word], bool] | None = None
) -> Plan:
    """A plan for everything the words need; what does not fit into the scratch is simply read each time.

    `stable`: whether a word means the same wherever the program evaluates it; without it, all do.
    """
    return _Planner(roots, memory, stable).plan()


class _Planner:
    def __init__(self, roots: Iterable[ir.Word], memory: Memory, stable: Callable[[ir.Word], bool] | None) -> None:
        self.memory = memory
        self.stable = stable or (lambda _: True)
        self.words: dict[ir.Word, int] = {}  # every word below the roots → its height, children first
        self.loads: dict[ir.Word, list[ir.Load]] = {}
        for root in roots:
            self.visit(root)
        for word in self.words:
            if isinstance(word, ir.Load):
                self.loads.setdefault(word.base, []).append(word)
        self.next = memory.planned
        self.next_on_stack = memory.blocks

    def visit(self, word: ir.Word) -> int:
        if word not in self.words:
            height = 1 + max((self.visit(child) for child in children(word)), default=0)
            self.words[word] = height
        return self.words[word]

    def reserve(self, size: int) -> int | None:
        if self.next + size > self.memory.planned_end:
            return None
        place = self.next
        self.next += -(-size // 8) * 8
        return place

    def plan(self) -> Plan:
        found = Plan()
        for word in self.words:
            if isinstance(word, ir.MapElement) and self.stable(word) and (element := self.element(word)) is not None:
                found.blocks[word] = element
        candidates: list[tuple[int, Step]] = [*self.lookups(found), *self.chains(found), *self.blocks(found)]
        found.steps = [step for _, step in sorted(candidates, key=lambda pair: pair[0])]
        return found

    def lookups(self, found: Plan) -> Iterator[tuple[int, Step]]:
        groups: dict[tuple[ir.Word, ir.BucketLayout | ir.SwissLayout], list[ir.MapElement]] = {}
        for word in self.words:
            if isinstance(word, ir.MapElement):
                groups.setdefault((word.map, word.layout), []).append(word)
        for (map, layout), elements in groups.items():
            place = self.reserve(8 * len(elements))
            if place is None:
                raise AssemblerError("a program looks up too many keys of Go maps", "look up fewer in one probe")
            places = tuple((one.key, place + 8 * index, found.blocks.get(one)) for index, one in enumerate(elements))
            found.elements.update({one: at for one, (_, at, _) in zip(elements, places, strict=True)})
            yield self.words[map] + 1, Lookup(map, layout, places)

    def element(self, word: ir.MapElement) -> Block | None:
        """The words that are loaded from an element, if they can be taken from its group: whole words, not too many."""
        extent = self.extent(word)
        if extent is None:
            return None
        start, end = extent[0] // 8 * 8, -(-extent[1] // 8) * 8
        room = word.layout.elem_stride if isinstance(word.layout, ir.SwissLayout) else word.layout.elem_size
        if start < 0 or end > room or end - start > LARGEST_ELEMENT:
            return None
        valid = self.reserve(8 + end - start)
        return None if valid is None else Block(word, start, end - start, valid + 8, valid, on_stack=False)

    def extent(self, base: ir.Word) -> tuple[int, int] | None:
        """Offsets from `base` between which everything lies that is loaded from it."""
        loads = self.loads.get(base)
        if not loads:
            return None
        return min(load.offset for load in loads), max(load.offset + load.size for load in loads)

    def chains(self, found: Plan) -> Iterator[tuple[int, Step]]:
        for word in list(self.words):
            if isinstance(word, ir.Unwrapped):
                first = ir.Unwrapped(word.type, word.data, word.wrappers, 0)
                if first not in found.chains:
                    place = self.reserve(16)
                    if place is None:
                        raise AssemblerError("a program follows too many errors", "follow fewer in one probe")
                    found.chains[first] = place
                    yield self.words[word], Chain(first, place)

    def blocks(self, found: Plan) -> Iterator[tuple[int, Step]]:
        for base, loads in self.loads.items():
            extent = self.extent(base)
            if extent is None or len(loads) < 2 or base in found.blocks or not self.stable(base):
                continue
            block = self.block(base, *extent)
            if block is not None:
                found.blocks[base] = block
                yield self.words[base] + 1, block

    def block(self, base: ir.Word, start: int, end: int) -> Block | None:
        """On the stack if there is room: fields there must be aligned as they are in the process."""
        size, skew = end - start, start % 8
        if size > LARGEST_BLOCK:
            return None
        if self.next_on_stack + skew + size <= self.memory.blocks_end and (valid := self.reserve(8)) is not None:
            place = self.next_on_stack + skew
            self.next_on_stack += -(-(skew + size) // 8) * 8
            return Block(base, start, size, place, valid, on_stack=True)
        valid = self.reserve(8 + size)
        return None if valid is None else Block(base, start, size, valid + 8, valid, on_stack=False)
