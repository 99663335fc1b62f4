"""Whether what was seen of a tortured program is what there was: every call, every argument, every drop."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from dataclasses import dataclass
from typing import Any

from cli import Finished, number, started
from torture_mechanisms import Memory, NotAvailable, patches, told, via
from torture_program import PANICKING, Torture, observed
from trace_lines import calls_of, maps_of

#: What stripped programs do not say.
SIGNATURES = "sig 'main.pair(a, b int) int'\nsig 'main.text(s string, which int) int'\n"

#: Seconds a target may take for what is measured, however slow its probes are.
LONG = 1800.0


@dataclass(frozen=True, slots=True)
class Exactness:
    """What was observed of one measured stretch, and what the target itself counted.

    `wrong`: what was seen and what there was, where that differs. `events`: how many there were, entries and exits.
    """

    calls: int
    events: int
    missed: int
    dropped: int
    wrong: dict[str, tuple[int, int]]
    sites: Counter[str]
    said: str

    @property
    def exact(self) -> bool:
        """Nothing differs, or what is missing is among what is told as dropped; nothing is ever seen too often."""
        return all(seen <= was for seen, was in self.wrong.values()) and self.missed <= self.dropped


def script(build: str, mechanism: str) -> str:
    """Counts entries, exits, panics, strings and sums between mark() and finish()."""
    functions = observed(build, mechanism)
    maps = ("@entered", "@returned", "@unwound", "@texts", "@firsts", "@sums")
    clears = "; ".join(f"clear({name})" for name in maps)
    parts = [
        f"main.mark:entry {{ {clears} }}",
        "main.finish:entry { stop }",
        f"{_each(functions, 'entry')} {{ @entered[func] = count() }}",
        f"{_each(functions, 'return')} {{ @returned[func] = count() }}",
        f"{_each(PANICKING, 'panic')} {{ @unwound[func] = count() }}",
        "main.text:entry { @texts[args.s] = count() }",
        "main.pair:return { @firsts = sum(args.a); @sums = sum(ret) }",
    ]
    return SIGNATURES + "\n".join(parts)


def _each(functions: tuple[str, ...], where: str) -> str:
    return ", ".join(f"{name}:{where}" for name in functions)


def measured(target: Torture, build: str, mechanism: str, rounds: int) -> Exactness:
    """Attaches while the target runs as it does, has it make `rounds`, and lets go while it goes on.

    Raises NotAvailable when gotap refuses.
    """
    before = Memory.of(target.pid)
    with started(
        "trace", "-p", str(target.pid), *via(mechanism), "--json", "--max-overhead", "off", script(build, mechanism)
    ) as tracing:
        try:
            tracing.wait_for("gotap: attached")
        except AssertionError:
            if tracing.process.poll() in (None, 0):
                raise
            raise NotAvailable(told(tracing.finish())) from None
        sites = patches(before, Memory.of(target.pid))
        was = target.order("measure", rounds, patience=LONG)
        done = tracing.finish()
    assert done.code == 0, done.err
    return compared(was, done, build, mechanism, sites)


def compared(was: dict[str, int], done: Finished, build: str, mechanism: str, sites: Counter[str]) -> Exactness:
    maps = maps_of(done.out)
    seen: dict[str, tuple[int, int]] = {}
    events = 0
    for function in observed(build, mechanism):
        name = "main.generic[...]" if function == "main.generic" else function
        panics = was.get(f"{name} panic", 0)
        key = json.dumps([name])
        seen[f"{name}:entry"] = _value(maps, "@entered", key), was[name]
        seen[f"{name}:return"] = _value(maps, "@returned", key), was[name] - panics
        seen[f"{name}:panic"] = _value(maps, "@unwound", key), panics
        events += 2 * was[name]
    contents = {name.removeprefix("text "): count for name, count in was.items() if name.startswith("text ")}
    for content in contents.keys() | {json.loads(key)[0] for key in maps.get("@texts", {})}:
        seen[f"text {content!r}"] = _value(maps, "@texts", json.dumps([content])), contents.get(content, 0)
    wrong = {name: both for name, both in seen.items() if both[0] != both[1]}
    missed = sum(there - got for got, there in wrong.values())
    if not wrong:  # sums say nothing when calls are missing
        sums = {"sum of arguments": "@firsts", "sum of results": "@sums"}
        both = {name: (_value(maps, of, "[]"), was[name]) for name, of in sums.items()}
        wrong = {name: (abs(got - there), 0) for name, (got, there) in both.items() if got != there}
    calls = sum(was["main.generic[...]" if name == "main.generic" else name] for name in observed(build, mechanism))
    return Exactness(calls, events, missed, dropped(done.err), wrong, sites, done.err)


def _value(maps: dict[str, dict[str, Any]], name: str, key: str) -> int:
    return int(maps.get(name, {}).get(key, 0))


def dropped(err: str) -> int:
    """What the summary tells."""
    found = re.search(r"^gotap: .*?([\d,]+) dropped", err, re.MULTILINE)
    assert found, f"no summary in:\n{err}"
    return number(found[1])


def each_call(target: Torture, mechanism: str, function: str, rounds: int) -> tuple[int, int, int]:
    """(events, drops told, calls) of a function whose calls are events of their own, through the ring.

    The target must make no calls while gotap comes and goes, so that whatever is dropped belongs to these.
    """
    with started(
        "trace", "-p", str(target.pid), *via(mechanism), "--json", "--max-overhead", "off", SIGNATURES + function
    ) as tracing:
        tracing.wait_for("gotap: attached")
        was = target.order("measure", rounds, patience=LONG)
        done = tracing.finish(signal.SIGINT, timeout=120)
    assert done.code == 0, done.err
    return len(calls_of(done.out)), dropped(done.err), was[function]
