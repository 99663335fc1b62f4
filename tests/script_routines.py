"""Random routines, over a small world of memory, for comparing what runs them: a model, the interpreter, the kernel."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping

from gotap.bpf.codegen.target import Place
from gotap.image.code import Register
from gotap.probe import ir
from gotap.probe.record import Column, ColumnKind, Layout
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind
from gotap.probe.script.routine import (
    Branch,
    ClearMap,
    Emit,
    Loop,
    Remove,
    SetLocal,
    SetOwn,
    Statement,
    Store,
    Tally,
    Watch,
)
from script_kernel import Heap

NUMBERS = tuple(Column(f"n{index}", ColumnKind.INT, index) for index in range(3))
TEXTS = tuple(Column(f"t{index}", ColumnKind.TEXT, 3 + index, limit) for index, limit in enumerate((8, 20, 300)))
LAYOUT = Layout("random", 9, NUMBERS + TEXTS)

POINTER = ir.Input("argument", 0, 0, 8, False)
SCALARS = tuple(
    ir.Input("argument", 1 + index, 0, size, size < 8) for index, size in enumerate((8, 4, 2, 1))
)
PLACE = Place({POINTER: Register("rax"), **dict(zip(SCALARS, map(Register, ("rbx", "rcx", "rdi", "r8")), strict=True))},
              None, 0)  # fmt: skip

WORD, TEXT = Part(PartKind.UINT), Part(PartKind.TEXT, 24)
VALUES, NAMES, COUNTS, STATS = range(4)
MAPS = (
    MapSpec(VALUES, "@values", MapKind.VALUE, (WORD,), Part(PartKind.INT)),
    MapSpec(NAMES, "@names", MapKind.VALUE, (TEXT,), Part(PartKind.TEXT, 40)),
    MapSpec(COUNTS, "@counts", MapKind.COUNT, (TEXT, WORD), Part(PartKind.UINT)),
    MapSpec(STATS, "@stats", MapKind.STATS, (), Part(PartKind.INT)),
)
LOCALS = 3
OWN, OWN_TEXTS = 4, frozenset({2, 3})

INTERESTING = (0, 1, 2, 3, 7, 8, 63, 64, 100, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63,
               (1 << 64) - 1, (1 << 64) - 2, (1 << 64) - 100)  # fmt: skip
CONSTANTS = (b"", b"GET", b"POST", b"a longer text than others", b"/very" * 20)

#: The structure that POINTER leads to: words, then pointers, then texts (pointer and length).
_WORDS, _POINTERS, _STRINGS = 0, 8, 12
_STRING_COUNT = 6


def structure(heap: Heap, rng: random.Random, inner: int | None = None) -> int:
    """Makes one; its pointers: to `inner`, itself like this one, nil, not mapped, not even an address."""
    words = [rng.choice(INTERESTING) for _ in range(8)]
    pointers = [inner or 0, 0, 0x10, 0xDEAD << 48]
    texts = [heap.text(text) for text in (b"GET", b"POST", b"", b"x" * 30, b"/very" * 20)]
    texts.append(struct.pack("<QQ", 0x10, 5))  # not mapped
    return heap.put(struct.pack("<12Q", *words, *pointers) + b"".join(texts))


def inputs(rng: random.Random, pointer: int) -> tuple[dict[str, int], Mapping[ir.Input, int]]:
    """Registers, and what the inputs then are."""
    registers = {name: rng.choice(INTERESTING) for name in ("rbx", "rcx", "rdi", "r8")}
    values = {POINTER: pointer}
    for scalar, value in zip(SCALARS, registers.values(), strict=True):
        bits = 8 * scalar.size
        low = value & (1 << bits) - 1
        values[scalar] = (low - (1 << bits) if scalar.signed and low >> bits - 1 else low) & (1 << 64) - 1
    return {**registers, "rax": pointer}, values


class Maker:
    """Makes random routines. `long_loops`: what stands in loops is like what stands elsewhere, loops among it."""

    def __init__(self, seed: int, *, long_loops: bool = True) -> None:
        self.rng = random.Random(seed)
        self.long_loops = long_loops

    def watch(self) -> Watch:
        when = (self.truth(2),) if self.rng.random() < 0.3 else ()
        return Watch(LAYOUT, when, self.statements(4 + self.rng.randrange(5), 0))

    def statements(self, count: int, depth: int) -> tuple[Statement, ...]:
        return tuple(self.statement(depth) for _ in range(count))

    def statement(self, depth: int) -> Statement:
        rng = self.rng
        match rng.randrange(10 if depth < 2 else 8):
            case 0:
                return SetLocal(rng.randrange(LOCALS), self.word(3))
            case 1:
                slot = rng.randrange(OWN)
                if slot in OWN_TEXTS:
                    return SetOwn(slot, self.text(2))
                return SetOwn(slot, self.word(2), rng.random() < 0.5)
            case 2:
                if rng.random() < 0.5:
                    return Store(VALUES, (self.small(),), self.word(2), rng.random() < 0.5)
                return Store(NAMES, (self.text(1),), self.text(2))
            case 3:
                return Tally(COUNTS, (self.text(1), self.small()), ir.Const(1), False)
            case 4:
                return Tally(STATS, (), self.word(2), True)
            case 5:
                return rng.choice((Remove(VALUES, (self.small(),)), Remove(NAMES, (self.text(1),)), ClearMap(VALUES)))
            case 6 | 7:
                return Emit(rng.randrange(8), self.captures())
            case 8:
                some = self.statements(1 + rng.randrange(2), depth + 1)
                return Branch(self.truth(2), some, self.statements(rng.randrange(2), depth + 1))
            case _:
                first = rng.randrange(-3, 3)
                limit = ir.Const(first + rng.randrange(5)) if rng.random() < 0.8 else ir.Const(first - 1)
                body = self.statements(1 + rng.randrange(2), depth + 1) if self.long_loops else self.short()
                return Loop(rng.randrange(LOCALS), ir.Const(first), limit, body)

    def short(self) -> tuple[Statement, ...]:
        slot = self.rng.randrange(LOCALS)
        return SetLocal(slot, ir.Add(ir.Local(slot), self.leaf())), Tally(STATS, (), ir.Local(slot), True), Emit(1)

    def captures(self) -> tuple[ir.Capture, ...]:
        rng = self.rng
        made = []
        for column in rng.sample(NUMBERS, rng.randrange(3)):
            made.append(ir.Capture(column, tuple(self.alternative(self.word(2)) for _ in range(1 + rng.randrange(2)))))
        for column in rng.sample(TEXTS, rng.randrange(3)):
            made.append(ir.Capture(column, tuple(self.alternative(self.text(2)) for _ in range(1 + rng.randrange(2)))))
        return tuple(made)

    def alternative(self, value: ir.Word | ir.AnyText) -> ir.Alternative:
        return ir.Alternative((self.truth(1),) if self.rng.random() < 0.4 else (), value)

    def structure(self) -> ir.Word:
        if self.rng.random() < 0.7:
            return POINTER
        return ir.Load(POINTER, 8 * (_POINTERS + self.rng.choice((0, 0, 0, 1, 2, 3))), 8, False, True)

    def small(self) -> ir.Word:
        """Few different values, so that keys meet again."""
        return self.rng.choice((ir.Const(0), ir.Const(1), ir.Local(0), ir.Own(0)))

    def word(self, depth: int) -> ir.Word:
        rng = self.rng
        if depth == 0 or rng.random() < 0.3:
            return self.leaf()
        kind = rng.randrange(11)
        match kind:
            case 0:
                return ir.Add(self.word(depth - 1), self.word(depth - 1))
            case 1:
                return ir.Subtract(self.word(depth - 1), self.word(depth - 1))
            case 2 | 3 | 4 | 5:
                operator = rng.choice(("*", "/", "/", "%", "%", "&", "|", "^", "<<", ">>"))
                return ir.Arithmetic(operator, self.word(depth - 1), self.word(depth - 1), rng.random() < 0.5)  # type: ignore[arg-type]
            case 6:
                return ir.Log2(self.word(depth - 1))
            case 7:
                return ir.Linear(self.word(depth - 1), *rng.choice(((0, 100, 10), (-50, 50, 7), (5, 6, 1))))
            case 8:
                return ir.LogLinear(self.word(depth - 1), rng.randrange(6), rng.random() < 0.5)
            case 9:
                return ir.Stored(VALUES, (self.small(),))
            case _:
                return self.truth(depth - 1)

    def leaf(self) -> ir.Word:
        rng = self.rng
        match rng.randrange(6):
            case 0:
                return ir.Const(rng.choice(INTERESTING))
            case 1:
                return rng.choice(SCALARS)
            case 2 | 3:
                size = rng.choice((1, 2, 4, 8))
                offset = 8 * (_WORDS + rng.randrange(8)) + rng.randrange(8 // size) * size
                return ir.Load(self.structure(), offset, size, rng.random() < 0.5, True)
            case 4:
                return ir.Local(rng.randrange(LOCALS))
            case _:
                return ir.Own(rng.choice([slot for slot in range(OWN) if slot not in OWN_TEXTS]))

    def truth(self, depth: int) -> ir.Word:
        rng = self.rng
        match rng.randrange(6 if depth else 3):
            case 0:
                operator = rng.choice(("==", "!=", "<", "<=", ">", ">="))
                return ir.Compare(operator, self.word(depth), self.word(depth), rng.random() < 0.5)
            case 1:
                return ir.TextEquals(self.go_text(), rng.choice(CONSTANTS[:4]))
            case 2:
                return ir.TextsEqual(self.text(0), self.text(0))
            case 3:
                return ir.Not(self.truth(depth - 1))
            case _:
                return ir.Logic(rng.choice(("&&", "||")), self.truth(depth - 1), self.truth(depth - 1))  # type: ignore[arg-type]

    def go_text(self) -> ir.Text:
        base = self.structure()
        at = 8 * (_STRINGS + 2 * self.rng.randrange(_STRING_COUNT))
        return ir.Text(ir.Load(base, at, 8, False, True), ir.Load(base, at + 8, 8, False, True))

    def text(self, depth: int) -> ir.AnyText:
        rng = self.rng
        match rng.randrange(6 if depth else 5):
            case 0 | 1:
                return self.go_text()
            case 2:
                return ir.ConstText(rng.choice(CONSTANTS))
            case 3:
                return ir.OwnText(rng.choice(sorted(OWN_TEXTS)))
            case 4:
                return ir.AmbientText("comm") if depth == 0 else ir.StoredText(NAMES, (self.text(0),))
            case _:
                return ir.Chosen(tuple(self.alternative(self.text(depth - 1)) for _ in range(2)))
