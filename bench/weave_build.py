"""What weaving costs builds: from an empty build cache, after an edit of one file, and when nothing is to be done.

`cold` has an empty folder for Go's build cache each time; what gotap keeps itself has been made before, by the very
first build, which is told, too. CPU time of the command and all its children.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.measure import Values, alternate
from bench.programs import folder
from bench.weave_calls import PROGRAM
from bench.weave_tools import Builder, Source, Spent, builders, module

#: How often edits and builds of nothing are repeated in each round: they are quick.
_QUICK = 3
#: Cold: percent. An edit: percent, or s where that is more. Nothing to do: s.
MOST_COLD, MOST_EDIT, MOST_EDIT_S, MOST_NOTHING_S = 10.0, 5.0, 0.3, 0.3


def _real(name: str, path: str, version: str, package: str, edited: str) -> Source:
    return Source(name, module(path, version), package, edited)


#: The bench's own, and real programs of more than 300 packages, net/http among them; the last has 970.
PROGRAMS: dict[str, Callable[[], Source]] = {
    "woven": lambda: PROGRAM,
    "delve": partial(
        _real, "delve", "github.com/go-delve/delve", "v1.27.1", "./cmd/dlv", "service/debugger/debugger.go"
    ),
    "pushgateway": partial(_real, "pushgateway", "github.com/prometheus/pushgateway", "v1.11.1", ".", "main.go"),
    "caddy": partial(_real, "caddy", "github.com/caddyserver/caddy/v2", "v2.11.9", "./cmd/caddy", "caddy.go"),
}


def build(rounds: int, programs: Sequence[str]) -> str:
    """Real programs take a third of the rounds."""
    told = []
    for source in (PROGRAMS[name]() for name in programs):
        times = rounds if source == PROGRAM else max(rounds // 3, 1)
        every = builders(source)
        first = _cold(every["gotap"])  # makes gotap's own caches
        print(f"  {source.name}: the very first woven build {first.cpu:.1f} s of CPU, {first.wall:.1f} s", flush=True)
        told.append(f"{_table(source, every, times)}\n\nThe very first: {first.cpu:.1f} s of CPU.")
    return "\n\n".join(told)


def _table(source: Source, every: dict[str, Builder], rounds: int) -> str:
    def timed(how: Callable[[Builder], float]) -> dict[str, Callable[[], float]]:
        return {name: partial(how, one) for name, one in every.items()}

    cold = alternate(timed(lambda one: _cold(one).cpu), rounds)
    print(f"  {source.name} cold: {_plainly(cold)}", flush=True)
    number = 0

    def edited(one: Builder) -> float:
        nonlocal number
        one.edit(number := number + 1)
        return _warm(one).cpu

    quick = max(rounds, 2) * _QUICK
    warm = alternate(timed(edited), quick)
    nothing = alternate(timed(lambda one: _warm(one).cpu), quick)
    for name in every:
        shutil.rmtree(_cache(source, name))
    bounds = {"cold": (MOST_COLD, 0.0), "one file edited": (MOST_EDIT, MOST_EDIT_S), "nothing": (0.0, MOST_NOTHING_S)}
    lines = [f"| {source.name}, s of CPU | " + " | ".join(every) + " |", "| --- |" + " --- |" * len(every)]
    for (what, bound), values in zip(bounds.items(), (cold, warm, nothing), strict=True):
        lines.append(f"| {what} | " + " | ".join(_cell(name, values, *bound) for name in every) + " |")
    return "\n".join(lines)


def _cell(name: str, values: dict[str, Values], percent: float, seconds: float) -> str:
    """What is more than plain, round by round, and whether that is within so many percent, or so many seconds."""
    base = values["plain"].median
    if name == "plain":
        return values["plain"].text("s", 2)
    more = values[name].less(values["plain"])
    text = f"{more.text('s', 2, '+')}: {100 * more.median / base:+.0f} %"
    if name != "gotap":
        return text
    most = max(base * percent / 100, seconds)
    return f"{text}, {'met' if more.median <= most else 'NOT MET'}: {most:.2f} s"


def _plainly(values: dict[str, Values]) -> str:
    return ", ".join(f"{name} {one.text('s')}" for name, one in values.items())


def _cache(source: Source, name: str) -> Path:
    return Path(folder()) / "caches" / f"go-{source.name}-{name}"


def _cold(one: Builder) -> Spent:
    """Leaves the cache that it fills, so that what is warm can build on it."""
    cache = _cache(one.source, one.name)
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    return _warm(one)


def _warm(one: Builder) -> Spent:
    to = Path(folder()) / f"{one.source.name}-{one.name}"
    return one.build(to, {"GOCACHE": str(_cache(one.source, one.name))})


