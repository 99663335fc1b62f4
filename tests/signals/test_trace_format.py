"""What printf and print write: against Go's fmt for what Go has, by example for the rest."""

from __future__ import annotations

import itertools
import json
import subprocess
from typing import Any

import pytest

import gobuild
from gotap.probe.script.bound import EventKind, EventSpec, Part, PartKind
from gotap.probe.script.language.format import directives, parse_format
from gotap.signals.events import Events, Field
from gotap.signals.stacks import Frame
from gotap.signals.trace_format import print_texts, printf_texts, verb
from gotap.signals.values import Unavailable
from gotap.signals.values.model import Text
from gotap.sinks.sanitize import printable

KINDS = {"int": PartKind.INT, "uint": PartKind.UINT, "text": PartKind.TEXT, "bool": PartKind.BOOL,
         "float": PartKind.VALUE, "duration": PartKind.DURATION}  # fmt: skip
VALUES: dict[str, list[Any]] = {
    "int": [0, 7, -1, 255, -123456, 2**63 - 1, -(2**63)],
    "uint": [0, 9, 2**64 - 1],
    "text": ["", "x", "héllo", 'a "quoted" \\ one', "line\nbreak\ttab", "\x00\x1b[31m", "世界\u200b", "a\u0301"],
    "bool": [True, False],
    "float": [0.0, 1.5, -2.25, 1e21, 123456789.0, 1e-7],
    "duration": [0, 1, 1500, -1_500_000, 90_000_000_000, 3_723_004_005_006],
}
VERBS = {"int": "dxXvpqcut", "uint": "dxXv", "text": "svqxX", "bool": "tv", "float": "fv", "duration": "dvs"}
#: What Go's fmt has no such verb for, or answers with an error, and gotap with something better.
NOT_OF_GO = {("int", "u"), ("int", "t"), ("int", "p"), ("int", "c"), ("int", "q")}
FLAGS = ["", "8", "-8", "08", "+", " ", ".3", "12.5", "#"]


def combinations() -> list[tuple[str, str, Any]]:
    found = []
    for kind, values in VALUES.items():
        for letter, flags, value in itertools.product(VERBS[kind], FLAGS, values):
            if (kind, letter) in NOT_OF_GO or (flags == "#" and letter not in "xX"):
                continue
            if letter in "vs" and flags in ("+", " ", "08") and kind != "int":
                continue  # of strings Go fills up with zeros, of floats + means a sign: not promised
            if kind == "text" and (flags in ("+", " ", "#", "08") or "." in flags) and letter != "s":
                continue
            if kind in ("duration", "bool", "float") and letter in "vs" and "." in flags:
                continue
            if kind == "bool" and flags == "08":
                continue
            found.append((kind, f"%{flags}{letter}", value))
    return found


@pytest.fixture(scope="module")
def go() -> dict[tuple[str, str, str], str]:
    """What Go says, by kind, format and value."""
    program = gobuild.build("goformats")
    asked = combinations()
    lines = "".join(json.dumps({"Format": form, kind.capitalize(): value}) + "\n" for kind, form, value in asked)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {(kind, form, repr(value)): answer for (kind, form, value), answer in zip(asked, answers, strict=True)}


@pytest.mark.parametrize("kind", VALUES)
def test_as_go_writes_it(kind: str, go: dict[tuple[str, str, str], str]) -> None:
    compared = 0
    for of, form, value in combinations():
        if of == kind:
            (directive,) = directives(parse_format(form))
            assert verb(directive, Part(KINDS[kind]), value, str) == go[kind, form, repr(value)], (form, value)
            compared += 1
    assert compared > 10


@pytest.mark.parametrize(
    ("form", "kind", "value", "text"),
    [
        ("%u", PartKind.INT, -1, "18446744073709551615"),
        ("%i", PartKind.INT, -1, "-1"),
        ("%ld", PartKind.INT, 5, "5"),
        ("%t", PartKind.INT, 2, "true"),
        ("%p", PartKind.INT, 255, "0xff"),
        ("%c", PartKind.INT, 0x4E16, "世"),
        ("%c", PartKind.INT, 27, "\\x1b"),
        ("%d", PartKind.BOOL, True, "1"),
        ("%s", PartKind.INT, 7, "7"),
        ("%s", PartKind.BOOL, True, "true"),
        ("%d", PartKind.TEXT, "text", "text"),
        ("%s", PartKind.DURATION, 1_500_000, "1.5ms"),
        ("%d", PartKind.TIME, 1_600_000_000_000_000_001, "1600000000000000001"),
        ("%v", PartKind.TIME, 1_600_000_000_000_000_001, "2020-09-13T12:26:40.000000001Z"),
        ("%d", PartKind.VALUE, Unavailable("float in X0"), "<unavailable: float in X0>"),
        ("%q", PartKind.TEXT, Text(b"abc", 10), '"abc"…(len 10)'),
        ("%s", PartKind.TEXT, Text(b"abc", 10), "abc…(len 10)"),
        ("%x", PartKind.TEXT, Text(b"\xff\x00", 2), "ff00"),
        ("%s", PartKind.TEXT, "a\x1b[31mb\n", "a\\x1b[31mb\\n"),
        ("%v", PartKind.TYPE, None, "nil"),
    ],
)
def test_what_go_has_no_verb_for(form: str, kind: PartKind, value: Any, text: str) -> None:
    (directive,) = directives(parse_format(form))
    assert verb(directive, Part(kind), value, printable) == text


def events(kind: EventKind, form: str, *columns: tuple[PartKind, list[Any]]) -> Events:
    count = len(columns[0][1]) if columns else 1
    fields = tuple(Field(str(number), Part(of), values) for number, (of, values) in enumerate(columns))
    nothing = [0] * count
    return Events(EventSpec(kind, "begin", form), nothing, nothing, nothing, nothing, nothing, [None] * count,
                  [""] * count, [1] * count, [3] * count, None, fields)  # fmt: skip


def test_printf_is_exactly_the_text() -> None:
    some = events(EventKind.PRINTF, "%s=%d%%\n", (PartKind.TEXT, ["a", "b\n"]), (PartKind.INT, [1, 2]))
    assert printf_texts(some, printable) == ["a=1%\n", "b\\n=2%\n"]
    assert printf_texts(events(EventKind.PRINTF, "\x1b[1mbold"), printable) == ["\x1b[1mbold"]
    assert printf_texts(events(EventKind.PRINTF, ""), printable) == [""]


def test_print_puts_blanks_between() -> None:
    some = events(EventKind.PRINT, "", (PartKind.TEXT, ["a b"]), (PartKind.INT, [-1]), (PartKind.BOOL, [True]))
    assert print_texts(some, printable) == ["a b -1 true"]


def test_stacks_have_lines_of_their_own() -> None:
    stack = [Frame("main.f", "/main.go", 3), Frame("main.main", "/main.go", 9)]
    shown = "\tmain.f /main.go:3\n\tmain.main /main.go:9"
    word, frames = (PartKind.INT, [7]), (PartKind.STACK, [stack])
    for columns, text in (
        ((word, frames), f"7\n{shown}"),
        ((frames, word, word), f"{shown}\n7 7"),
        ((frames, frames), f"{shown}\n{shown}"),
    ):
        assert print_texts(events(EventKind.PRINT, "", *columns), printable) == [text]
