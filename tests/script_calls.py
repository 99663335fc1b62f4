"""Random calls on several goroutines: functions that call and return, panics that are seen, panics that are not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.setting import ScriptSetting, filtered_layouts, keeping_layouts
from gotap.bpf.codegen.target import Place
from gotap.image.code import Register
from gotap.probe import ir
from gotap.probe.record import Column, ColumnKind, Layout
from gotap.probe.script.routine import Emit, Ended, Enter, Leave, Routine, Unwind, Unwound
from script_kernel import Heap
from script_process import Event
from script_worlds import Goroutine

ARGUMENT = ir.Input("argument", 0, 0, 8, False)
TEXT = ir.Input("argument", 1, 0, 8, False)
RESULT = ir.Input("result", 0, 0, 8, False)
GOID = ir.Input("argument", 2, 0, 8, False)
ABOVE = ir.Input("argument", 3, 0, 8, False)
PLACE = Place({ARGUMENT: Register("rax"), TEXT: Register("rbx"), RESULT: Register("rax"), GOID: Register("rbx"),
               ABOVE: Register("rcx")}, None, 0)  # fmt: skip

NUMBER = Column("number", ColumnKind.INT, 0)
NAME = Column("name", ColumnKind.TEXT, 1, 2000)
ANSWER = Column("answer", ColumnKind.INT, 2)
TWICE = Column("twice", ColumnKind.INT, 3)

#: Function → the layouts of the probes on it. The third keeps nothing of its entry, the fourth has many probes.
FUNCTIONS = ((1,), (2, 3), (4,), tuple(range(5, 15)))
UNFOLLOWED = 3  # of layout 4 calls with this argument are not followed
PLAIN = 4
PROBE = 1
CALL_MAPS = (script_frame.CALLS, script_frame.HEADS, *(f"{script_frame.KEPT}{number}" for number in (1, 2, 3)))


def layout(number: int) -> Layout:
    return Layout(f"f{number}", number, (NUMBER, NAME, ANSWER, TWICE))


def _capture(column: Column, value: ir.Word | ir.AnyText) -> ir.Capture:
    return ir.Capture(column, (ir.Alternative((), value),))


def enter(number: int) -> Enter:
    if number == PLAIN:
        return Enter(layout(number), (ir.Compare("!=", ARGUMENT, ir.Const(UNFOLLOWED), False),))
    text = ir.Text(ir.Load(TEXT, 0, 8, False, True), ir.Load(TEXT, 8, 8, False, True))
    return Enter(layout(number), (), (_capture(NUMBER, ARGUMENT), _capture(NAME, text)))


def leave(number: int) -> Leave:
    twice = ir.Add(ir.Kept(NUMBER), ir.Kept(NUMBER))
    return Leave(layout(number), (), (Emit(0, (_capture(ANSWER, RESULT), _capture(TWICE, twice))),))


def unwound() -> tuple[Unwound, ...]:
    return tuple(Unwound(layout(number), (), (Emit(1),)) for numbers in FUNCTIONS for number in numbers)


def unwind(above: bool) -> Unwind:
    return Unwind(GOID, ABOVE if above else None, "panic" if above else "goexit", unwound())


@dataclass(frozen=True)
class Told:
    """What an event says, as far as it is the same in every world."""

    layout: int
    goid: int
    ended: Ended
    number: int | None
    name: bytes | None
    answer: int | None
    twice: int | None

    @classmethod
    def by(cls, data: bytes) -> Told:
        event = Event(data)
        header = event.header
        assert int(header["end"]) >= int(header["begin"]) > 0
        assert event.has(ANSWER) == (header["event"] == 0) == (header["ended"] == Ended.RETURN)
        return cls(int(header["layout"]), int(header["goid"]), Ended(int(header["ended"])), event.number(NUMBER),
                   event.text(NAME), event.number(ANSWER), event.number(TWICE))  # fmt: skip


Kind = Literal["enter", "leave", "recovered", "goexit"]
#: Runs all programs of a kind at a function: (kind, function, registers).
Run = Callable[[Kind, int, dict[str, int]], None]


@dataclass
class _Call:
    """An open call in the chain of a goroutine, innermost last."""

    layout: int
    depth: int
    function: int
    number: int
    name: bytes


@dataclass
class _Thread:
    goroutine: Goroutine
    goid: int
    stack: list[tuple[int, int, int]] = field(default_factory=list)  # function, depth, argument: what really is
    chain: list[_Call] = field(default_factory=list)  # what is known


class Calls:
    """Makes calls at random, and says which events they are."""

    def __init__(self, seed: int, heap: Heap, goroutines: int = 3) -> None:
        self.rng = random.Random(seed)
        self.heap = heap  # as long as there are calls
        self.threads = [_Thread(Goroutine(heap, goid), goid) for goid in range(100, 100 + goroutines)]
        self.texts = [(text, heap.put(heap.text(text))) for text in (b"", b"short", b"x" * 300, b"y" * 1500)]
        self.stale = self.unpaired = 0

    def step(self, run: Run) -> list[Told]:
        """One thing happens; returns the events, sorted."""
        thread = self.rng.choice(self.threads)
        told: list[Told] = []
        deep = len(thread.stack)
        kind = self.rng.random()
        if deep == 0 or (kind < 0.5 and deep < 12):
            self.call(thread, run, told)
        elif kind < 0.8:
            self.returns(thread, run, told)
        elif kind < 0.9:
            self.recovered(thread, run, told)
        elif kind < 0.95:
            del thread.stack[self.rng.randrange(deep) :]  # a panic that nobody saw
        else:
            self.goexit(thread, run, told)
        return sorted(told, key=repr)

    def call(self, thread: _Thread, run: Run, told: list[Told]) -> None:
        function, argument = self.rng.randrange(len(FUNCTIONS)), self.rng.randrange(8)
        depth = (thread.stack[-1][1] if thread.stack else 0) + 8 * self.rng.randrange(1, 4)
        text, address = self.rng.choice(self.texts)
        thread.stack.append((function, depth, argument))
        self.give_up(thread, depth)
        if thread.chain and thread.chain[-1].depth == depth and thread.chain[-1].function != function:
            self.give_up(thread, depth - 1)
        for number in FUNCTIONS[function]:
            if number == PLAIN and argument == UNFOLLOWED:
                continue
            new = _Call(number, depth, function, argument, text)
            for index, one in enumerate(thread.chain):
                if (one.depth, one.layout) == (depth, number):
                    thread.chain[index] = new
                    self.stale += 1
            if new not in thread.chain:
                thread.chain.append(new)
        run("enter", function, {**thread.goroutine.registers(depth), "rax": argument, "rbx": address})

    def returns(self, thread: _Thread, run: Run, told: list[Told]) -> None:
        function, depth, argument = thread.stack.pop()
        self.give_up(thread, depth)
        for number in FUNCTIONS[function]:
            mine = [one for one in thread.chain if one.depth == depth and one.layout == number]
            for one in mine:
                thread.chain.remove(one)
                told.append(self.told(thread, one, Ended.RETURN))
        run("leave", function, {**thread.goroutine.registers(depth), "rax": argument + 1000})

    def recovered(self, thread: _Thread, run: Run, told: list[Told]) -> None:
        level = self.rng.randrange(len(thread.stack))
        above = thread.stack[level][1]
        del thread.stack[level + 1 :]
        self.close(thread, told, above, Ended.PANIC)
        run("recovered", 0, {**thread.goroutine.registers(), "rbx": thread.goid, "rcx": above})

    def goexit(self, thread: _Thread, run: Run, told: list[Told]) -> None:
        """Called by the innermost function, or by one outside of it, when those inside are gone and nobody saw it."""
        inside = thread.stack[self.rng.randrange(len(thread.stack))][1] + 4
        thread.stack.clear()
        self.give_up(thread, inside)
        self.close(thread, told, 0, Ended.GOEXIT)
        run("goexit", 0, {**thread.goroutine.registers(inside), "rbx": thread.goid})

    def give_up(self, thread: _Thread, above: int) -> None:
        while thread.chain and thread.chain[-1].depth > above:
            thread.chain.pop()
            self.stale += 1

    def close(self, thread: _Thread, told: list[Told], above: int, ended: Ended) -> None:
        while thread.chain and thread.chain[-1].depth > above:
            told.append(self.told(thread, thread.chain.pop(), ended))

    def told(self, thread: _Thread, call: _Call, ended: Ended) -> Told:
        answer = call.number + 1000 if ended is Ended.RETURN else None
        if call.layout == PLAIN:
            return Told(call.layout, thread.goid, ended, None, None, answer, None)
        twice = 2 * call.number if ended is Ended.RETURN else None
        return Told(call.layout, thread.goid, ended, call.number, call.name, answer, twice)

    @property
    def open(self) -> int:
        return sum(len(thread.chain) for thread in self.threads)


def routines() -> list[tuple[Kind, int, Routine]]:
    """All routines, with their kind and function; a routine's program number is its place here."""
    numbered: list[tuple[Kind, int, Routine]] = []
    for function, numbers in enumerate(FUNCTIONS):
        numbered += [("enter", function, enter(number)) for number in numbers]
        numbered += [("leave", function, leave(number)) for number in numbers]
    return [*numbered, ("recovered", 0, unwind(above=True)), ("goexit", 0, unwind(above=False))]


def calls_setting(has_loop: bool) -> ScriptSetting:
    plain = [routine for _, _, routine in routines()]
    return ScriptSetting(frame_size=3000, filtered=filtered_layouts(plain), keeping=keeping_layouts(plain),
                         has_loop=has_loop, unwinder=True)  # fmt: skip
