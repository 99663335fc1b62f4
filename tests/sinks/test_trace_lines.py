"""Lines of `gotap trace`: what a call's line says, and that nothing of the program's steers the terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from gotap.probe.script.bound import PartKind
from gotap.probe.script.routine import Ended
from gotap.signals.call_trees import CallTrees
from gotap.signals.stacks import Frame
from gotap.signals.values import Unavailable
from gotap.signals.values.model import Interface, Record, Text
from gotap.sinks.trace_graph import TraceGraph
from gotap.sinks.trace_lines import WHOLE, TraceLines
from trace_events import calls


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


ARGS = {"name": (PartKind.TEXT, ["tigre"]), "year": (PartKind.INT, [2021])}


def only(events: object) -> str:
    (line,) = TraceLines().events(events)  # type: ignore[arg-type]
    return line


def test_a_call() -> None:
    line = only(calls(args=ARGS, results={"~r0": (PartKind.TEXT, ["hello\n"])}))
    assert line == '12:26:40.000000 g7    main.prepareAnswer(name="tigre", year=2021) = "hello\\n"  1.23ms\n'


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ({}, ")  1.23ms\n"),
        ({"err": (PartKind.VALUE, [Interface("*e.T", Record((), []), "no luck")])}, ") = no luck  1.23ms\n"),
        ({"n": (PartKind.INT, [3]), "ok": (PartKind.BOOL, [True])}, ") = (n=3, ok=true)  1.23ms\n"),
        ({"~r0": (PartKind.INT, [3]), "~r1": (PartKind.TYPE, [None])}, ") = (3, nil)  1.23ms\n"),
        ({"~r0": (PartKind.VALUE, [Unavailable("float in X0")])}, ") = <unavailable: float in X0>  1.23ms\n"),
        ({"~r0": (PartKind.TEXT, [Text(b"abc", 999)])}, ') = "abc"…(len 999)  1.23ms\n'),
        ({"~r0": (PartKind.DURATION, [1_500_000])}, ") = 1.5ms  1.23ms\n"),
    ],
)
def test_results(results: dict[str, tuple[PartKind, list[object]]], text: str) -> None:
    assert only(calls(results=results)).endswith(text)


def test_how_else_a_call_ends() -> None:
    assert only(calls(ended=Ended.PANIC)).endswith("main.prepareAnswer() ! panic  1.23ms\n")
    assert only(calls(ended=Ended.GOEXIT)).endswith("main.prepareAnswer() ! goexit  1.23ms\n")
    assert only(calls(ended=Ended.OPEN, latency=None, args=ARGS)).endswith('(name="tigre", year=2021)\n')


def test_unnamed_parameters_and_receivers() -> None:
    line = only(calls(args={"~recv": (PartKind.INT, [1]), "~a0": (PartKind.INT, [2]), "b": (PartKind.INT, [3])}))
    assert "main.prepareAnswer(~recv=1, 2, b=3)" in line


def test_other_places_than_functions() -> None:
    assert only(calls(probe="tracepoint:sched:sched_switch", site=None, goid=0, ended=Ended.OPEN, latency=None)) == (
        "12:26:40.000000 t100  tracepoint:sched:sched_switch\n"
    )
    line = only(calls(probe="main.go:42", ended=Ended.OPEN, latency=None, args={"x": (PartKind.INT, [1])}))
    assert line == "12:26:40.000000 g7    main.go:42 main.prepareAnswer(x=1)\n"


def test_thinned_calls_say_so() -> None:
    assert only(calls(weight=16)).endswith("main.prepareAnswer()  1.23ms (1 of 16)\n")


def test_stacks_are_below() -> None:
    stack = [[Frame("main.f", "/src/main.go", 3), Frame("main.main", "", 0)]]
    assert only(calls(stack=stack)).endswith("  1.23ms\n\tmain.f /src/main.go:3\n\tmain.main\n")


def test_hostile_texts() -> None:
    """Neither quoted nor other values, nor names of functions and parameters."""
    text = "\x1b]0;owned\x07\x9b31m\r\n\u202e"
    field = Record(("A",), [text])
    events = calls(args={"a": (PartKind.TEXT, [text]), "b": (PartKind.VALUE, [field]), text: (PartKind.TYPE, [text])})
    events.function[0] = text
    line = only(events)
    assert line.removesuffix("\n").isprintable()


def test_what_nobody_reads_is_counted() -> None:
    events = calls(args={"a": (PartKind.TEXT, ["x" * 1000])})
    (line,) = TraceLines(longest=10).events(events)
    assert line.endswith('(a="xxxxxxxxx…(+992))  1.23ms\n')
    (line,) = TraceLines(longest=WHOLE).events(events)
    assert f'a="{"x" * 1000}"' in line


def test_colours_change_no_text() -> None:
    events = calls(2, args={"n": (PartKind.INT, [1, 2])}, ended=[Ended.RETURN, Ended.PANIC])
    plain, coloured = TraceLines().events(events), TraceLines(colour=True).events(events)
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in coloured] == plain
    assert all("\x1b[" in line for line in coloured)


def test_a_graph() -> None:
    """The inner call began 2 ms after the outer one and took 1 ms; a call elsewhere is not in it."""
    entry = calls(probe="main.checkSite:entry", ended=Ended.OPEN, latency=None)
    other = calls(probe="--graph", goid=8, end=[2_500_000])
    inner = calls(probe="--graph", latency=1_000_000, end=[3_000_000], args={"n": (PartKind.INT, [3])})
    outer = calls(probe="main.checkSite", latency=4_000_000, end=[4_000_000], results={"~r0": (PartKind.INT, [9])})
    trees = CallTrees({"main.checkSite:entry"}, {"main.checkSite"})
    assert [trees.add(one, 0) for one in (entry, other, inner)] == [None, None, None]
    tree = trees.add(outer, 0)
    assert tree is not None
    assert TraceGraph().tree(tree) == (
        "12:26:40.000000 g7    main.prepareAnswer() {\n"
        "12:26:40.002000 g7      main.prepareAnswer(n=3)  1ms\n"
        "12:26:40.004000 g7    } = 9  4ms\n"
    )
