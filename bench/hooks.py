"""What each mechanism costs the target, in one run: uprobe, springboard, hook, and nothing, on the same functions and
the same server; how long the target stands still when gotap attaches; what is left when it has gone.

Least of the rounds, whose variants alternate: other work on the machine makes a call dearer, never cheaper. A call's
cost is the CPU time of the thread that calls, a request's that of the server's process.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.hooked import MECHANISMS, Hooked, attached, hooked, tracing
from bench.programs import Load, NotPossible, Service, service
from bench.start import Text


@dataclass(frozen=True, slots=True)
class Question:
    """A script for one function, in bursts of so many calls, and the most that a call may cost more, ns."""

    name: str
    function: str
    script: str
    burst: int = 0
    most: dict[str, float] = field(default_factory=dict)


#: Calls between two rests where each is an event, so that whoever reads them keeps up.
_BURST = 1_000
QUESTIONS = (
    Question("entries counted", "gentle", "main.gentle:entry { @ = count() }"),
    Question("two integers, summed at the entry", "gentle", "main.gentle:entry { @ = sum(args.a + args.b) }"),
    Question("latency, as a histogram", "gentle", "main.gentle { @ = hist(latency) }"),
    Question("entry and return, two integers", "gentle", "main.gentle { @ = sum(args.a + args.b) }",
             most={"uprobe": 1500, "springboard": 700, "hook": 50}),
    Question("and a string of 32 bytes", "text", 'main.text { if args.s != "0" { @ = sum(args.a + args.b) } }',
             most={"hook": 90}),
    Question("each call an event, two integers", "gentle", "main.gentle", _BURST),
    Question("each call an event, and the string", "text", "main.text", _BURST),
    Question("two integers, the return not emulated", "pair", "main.pair { @ = sum(args.a + args.b) }",
             most={"springboard": 700, "hook": 50}),
)  # fmt: skip

#: µs more of CPU for a request; ms that the target may stand still for so many sites.
MOST_REQUEST = {"hook": 1.0, "springboard": 3.0}
MOST_STOP = {100: 5.0, 5_000: 50.0}


def run(arguments: argparse.Namespace) -> None:
    for part in (calls, requests, stops):
        print(part(max(arguments.rounds, 3), arguments.seconds), flush=True)


@dataclass(slots=True)
class Measured:
    """Per mechanism what was measured in each round, and why one was not."""

    values: dict[str, list[float]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def rounds(self, count: int, alone: Callable[[str], float], observed: Callable[[str], float]) -> Measured:
        """Alone, then each mechanism with what is measured alone right behind it, forwards and backwards."""
        for number in range(count):
            self.values.setdefault("alone", []).append(alone("alone"))
            for mechanism in MECHANISMS if number % 2 == 0 else reversed(MECHANISMS):
                if mechanism in self.refused:
                    continue
                try:
                    self.values.setdefault(mechanism, []).append(observed(mechanism))
                except NotPossible as reason:
                    self.refused[mechanism] = str(reason)
                    print(f"  {reason}", flush=True)
                    continue
                self.values.setdefault(f"after {mechanism}", []).append(alone(mechanism))
        return self

    def least(self, name: str) -> float | None:
        return min(self.values[name]) if self.values.get(name) else None

    def row(self, name: str, unit: float, digits: int, most: dict[str, float]) -> list[str]:
        """Cells of a table: alone, then each mechanism's addition with its bound, and what is left after each.

        The least that was measured with nobody there, before or after, is what all are compared with.
        """
        base = min(min(values) for name, values in self.values.items() if name not in MECHANISMS)
        cells = [f"{base / unit:.{digits}f}"]
        for mechanism in MECHANISMS:
            value = self.least(mechanism)
            if value is None:
                cells.append("not available")
                continue
            bound = most.get(mechanism)
            met = "" if bound is None else f", {'met' if (value - base) / unit <= bound else 'NOT MET'}: {bound:g}"
            cells.append(f"{(value - base) / unit:+.{digits}f} ({value / base:.2f}×{met})")
        left = [value for mechanism in MECHANISMS if (value := self.least(f"after {mechanism}")) is not None]
        cells.append(", ".join(f"{(value - base) / unit:+.{digits}f}" for value in left))
        return [name, *cells]


def table(unit: str, rows: list[list[str]]) -> str:
    """Markdown, as docs/benchmarks.md has it."""
    head = [unit, "alone", *MECHANISMS, "after detach"]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


# -- a call -----------------------------------------------------------------------------------------------------------


def calls(rounds: int, seconds: float) -> str:
    """CPU time of a call."""
    rows = []
    with hooked() as target:
        for question in QUESTIONS:
            lost: dict[str, int] = {}
            measured = Measured().rounds(
                rounds,
                lambda _, question=question: _spent(target, question, seconds / 10),  # type: ignore[misc]
                lambda mechanism, question=question, lost=lost: _asked(  # type: ignore[misc]
                    target, question, mechanism, seconds / 10, lost
                ),
            )
            row = measured.row(question.name, 1, 1, question.most)
            rows.append(row)
            print("  " + "  ".join(row), f"dropped: {lost}" if any(lost.values()) else "", flush=True)
    return "\n" + table("ns a call", rows)


def _asked(target: Hooked, question: Question, mechanism: str, seconds: float, lost: dict[str, int]) -> float:
    with tracing(target.pid, mechanism, question.script) as gotap:
        spent = _spent(target, question, seconds)
        said = gotap.stop()
    found = re.search(r"([\d,]+) dropped", said)
    lost[mechanism] = lost.get(mechanism, 0) + (int(found[1].replace(",", "")) if found else 0)
    return spent


def _spent(target: Hooked, question: Question, seconds: float) -> float:
    """ns a call, over about so many seconds of CPU time, in pieces of which the least counts."""
    few = question.burst or 2_000
    once = target.per_call(question.function, few, question.burst)
    piece = max(few, int(seconds / 5 * 1e9 / max(once, 1)))
    piece = min(piece // few * few, 20 * few) if question.burst else piece
    return min(target.per_call(question.function, piece, question.burst) for _ in range(5))


# -- a request --------------------------------------------------------------------------------------------------------


def requests(rounds: int, seconds: float) -> str:
    """CPU time of the server's process for a request, with the catalogue of net/http."""
    load = Load(0)
    with service(stripped=True) as target:
        _of_request(target, load, seconds)  # warm

        def observed(mechanism: str) -> float:
            with attached("attach", str(target.pid), mechanism=mechanism) as gotap:
                spent = _of_request(target, load, seconds)
                gotap.stop()
            return spent

        measured = Measured().rounds(rounds, lambda _: _of_request(target, load, seconds), observed)
    row = measured.row(f"`GET /hello`, {load}", 1e3, 1, MOST_REQUEST)
    return "\n" + table("µs a request", [row])


def _of_request(target: Service, load: Load, seconds: float) -> float:
    """ns, the least of three loads."""
    found = []
    for _ in range(3):
        before = target.cpu()
        done = load.run(target.url("/hello"), seconds / 3)
        found.append((target.cpu() - before) / done.requests)
    return min(found)


# -- the target stands still ------------------------------------------------------------------------------------------


def stops(rounds: int, seconds: float) -> str:
    """The longest time in which a thread of the target's that wakes every 0.2 ms has not woken."""
    rows = []
    for sites, most in MOST_STOP.items():
        found: dict[str, list[tuple[int, int]]] = {}
        refused: set[str] = set()
        with hooked(sites) as target, hooked(sites) as other:
            text = Text(target.pid)
            for _ in range(rounds):
                found.setdefault("alone", []).append(_stood_still(target, other, "uprobe", sites))
                for mechanism in MECHANISMS:
                    try:
                        if mechanism not in refused:
                            found.setdefault(mechanism, []).append(_stood_still(target, target, mechanism, sites))
                    except NotPossible as reason:
                        print(f"  {reason}", flush=True)
                        refused.add(mechanism)
            left = text.changed()
        cells = [f"{sites:,}", _stood(found["alone"]), *(_stood(found.get(one), most) for one in MECHANISMS), str(left)]
        rows.append(cells)
        print("  " + "  ".join(cells), flush=True)
    head = ["sites: ms at attach, at detach", "gotap at another process", *MECHANISMS, "bytes changed at the end"]
    return "\n" + "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)) + "\n"


def _stood(values: list[tuple[int, int]] | None, most: float | None = None) -> str:
    if not values:
        return "not available"
    attaching, detaching = (min(one) / 1e6 for one in zip(*values, strict=True))
    met = "" if most is None else f" ({'met' if attaching <= most else 'NOT MET'}: {most:g})"
    return f"{attaching:.1f}, {detaching:.1f}{met}"


def _stood_still(target: Hooked, observed: Hooked, mechanism: str, sites: int) -> tuple[int, int]:
    """ns, while gotap attaches to a process, and while it detaches."""
    script = "main.many*:entry { @ = count() }"
    target.do("pulse", 1)
    try:
        with tracing(observed.pid, mechanism, script, "--max-probes", str(sites)) as gotap:
            attaching = target.do("pulse", 0)
            target.do("pulse", 1)
            gotap.stop()
            return attaching, target.do("pulse", 0)
    except NotPossible:
        target.do("pulse", 0)
        raise
