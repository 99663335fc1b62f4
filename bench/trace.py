"""What asking a live program costs: first event, many probes, a count at a hot function, events through the ring."""

from __future__ import annotations

import argparse
import compileall
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import gotap as gotap_package
from bench.measure import Values, alternate, verdict
from bench.programs import NotPossible, process_cpu
from bench.start import Text
from bench.tracee import MANY, Tracee, Tracer, bpftrace, build, dlv, gotap, started, tracee

#: Bounds of docs/benchmarks.md.
MOST_FIRST, MOST_RESIDENT = 300, 50  # ms, MB
MOST_ATTACH, MOST_DETACH = 1000, 500  # ms, of MANY probes
MOST_COUNT = 1.0  # µs a hit
LEAST_EVENTS, MOST_PYTHON = 500_000, 1.0  # a second, µs

#: Rows of the table for docs/benchmarks.md: what is measured, by whom, the bound.
Row = tuple[str, dict[str, str], str]
_PEERS = ("gotap", "bpftrace", "delve")


def run(arguments: argparse.Namespace) -> None:
    compileall.compile_dir(str(Path(gotap_package.__file__).parent), quiet=1)  # as pip does when it installs
    rounds = max(arguments.rounds, 5)
    rows: list[Row] = []
    rows += first_event(rounds)
    rows += many_probes(min(rounds, 5))
    rows += counting(rounds)
    rows += through_the_ring(rounds)
    print("\n" + table(rows), flush=True)


def table(rows: list[Row]) -> str:
    """Markdown, as docs/benchmarks.md has it."""
    lines = [f"| | {' | '.join(_PEERS)} | target |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {what} | {' | '.join(by.get(peer, '') for peer in _PEERS)} | {bound} |" for what, by, bound in rows]
    return "\n".join(lines)


def tell(what: str, values: Values, unit: str, digits: int, bound: str = "") -> str:
    text = values.text(unit, digits)
    print(f"  {what:<44}{text:<30}{bound}", flush=True)
    return text


def each_peer(make: dict[str, Callable[[], Tracer]]) -> dict[str, Tracer]:
    """Those that are here; the others are named."""
    found = {}
    for name, one in make.items():
        try:
            found[name] = one()
        except NotPossible as reason:
            print(f"  {name}: not measured: {reason}")
    return found


# -- first event ------------------------------------------------------------------------------------------------------


def first_event(rounds: int) -> list[Row]:
    """From the start of the command to its first line about a call; the function is called every millisecond."""
    resident: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}

    def once(tracer: Tracer, pattern: str) -> float:
        with started(tracer) as running:
            seconds = running.wait(pattern)
            spent.setdefault(tracer.name, []).append(process_cpu(running.process.pid) / 1e6)
            resident.setdefault(tracer.name, []).append(running.resident())
            running.stop()
        return seconds * 1e3

    with tracee(build()) as plain, tracee(build(debug=True)) as debug:
        for one in (plain, debug):
            one.do("tick", 100_000_000)
        peers = each_peer({
            "gotap": lambda: gotap(plain.pid, "main.hot"),
            "bpftrace": lambda: bpftrace(plain.pid, 'uprobe:{}:main.hot { printf("main.hot(%d)\\n", reg("ax")) }'),
            "delve": lambda: dlv(debug.pid, "main.hot"),
        })  # fmt: skip
        found = alternate({name: lambda t=tracer: once(t, r"main\.hot\(") for name, tracer in peers.items()}, rounds)  # type: ignore[misc]
    first = {name: tell(f"first event, {name}", values, "ms", 0,
                        verdict(values.median, MOST_FIRST, "ms", 0) if name == "gotap" else "")
             for name, values in found.items()}  # fmt: skip
    memory = {name: tell(f"resident then, {name}", Values(tuple(all)), "MB", 1,
                         verdict(statistics.median(all), MOST_RESIDENT, "MB") if name == "gotap" else "")
              for name, all in resident.items()}  # fmt: skip
    cpu = {name: tell(f"CPU until then, {name}", Values(tuple(all)), "ms", 0) for name, all in spent.items()}
    return [
        ("exec to first event", first, f"{MOST_FIRST} ms"),
        ("CPU until then", cpu, ""),
        ("resident then", memory, f"{MOST_RESIDENT} MB"),
    ]


# -- many probes ------------------------------------------------------------------------------------------------------


def many_probes(rounds: int) -> list[Row]:
    """All functions of a program at once. `attached` is the difference to one probe: the start itself drops out."""
    script = "main.many*:entry { @[func] = count() }"
    options = ("--max-probes", str(2 * MANY))
    all_starts, one_starts, stops = [], [], []
    with tracee(build(MANY)) as target:
        text = Text(target.pid)
        for _ in range(rounds):
            with started(gotap(target.pid, "main.hot:entry { @[func] = count() }", *options)) as running:
                one_starts.append(running.wait("attached") * 1e3)
                running.stop()
            tracer = gotap(target.pid, script, *options)
            with started(tracer) as running:
                all_starts.append(running.wait(tracer.ready) * 1e3)
                changed = text.changed()
                if changed < MANY:
                    raise NotPossible(f"of {MANY} functions {changed} have a probe")
                begin = time.perf_counter()
                running.process.send_signal(signal.SIGINT)
                text.wait_restored()
                stops.append((time.perf_counter() - begin) * 1e3)
    whole = Values(tuple(all_starts))
    attached, detached = whole.less(Values(tuple(one_starts))), Values(tuple(stops))
    tell(f"exec to attached, {MANY} probes", whole, "ms", 0)
    more = tell("  more than with one probe", attached, "ms", 0, verdict(attached.median, MOST_ATTACH, "ms", 0))
    out = tell("SIGINT to text restored", detached, "ms", 0, verdict(detached.median, MOST_DETACH, "ms", 0))
    few = peer_of_many()
    return [
        (f"attaching {MANY:,} probes", {"gotap": more, **few[0]}, f"{MOST_ATTACH} ms"),
        (f"detaching {MANY:,} probes", {"gotap": out, **few[1]}, f"{MOST_DETACH} ms"),
    ]


def peer_of_many(few: int = 100) -> tuple[dict[str, str], dict[str, str]]:
    """bpftrace with a hundredth of them: each probe is a system call to attach and a grace period to detach."""
    with tracee(build(MANY)) as target:
        try:
            tracer = bpftrace(target.pid, "uprobe:{}:main.many99* { @[func] = count() }")
            with started(tracer) as running:
                attached = running.wait(tracer.ready)
                target.do("many", 1)
                stopped = running.stop()
        except NotPossible as reason:
            print(f"  bpftrace: not measured: {reason}")
            return {}, {}
    count = sum(1 for number in range(MANY) if str(number).startswith("99"))
    print(f"  bpftrace, {count} probes: attached after {attached:.1f} s, ended after {stopped:.1f} s")
    return ({"bpftrace": f"{attached:.1f} s for {count}"}, {"bpftrace": f"{stopped:.1f} s for {count}"})


# -- counting ---------------------------------------------------------------------------------------------------------


def counting(rounds: int, calls: int = 500_000) -> list[Row]:
    """CPU time of the target a call, with and without a count of them."""
    with tracee(build()) as plain, tracee(build(debug=True)) as debug:
        peers = each_peer({
            "gotap": lambda: gotap(plain.pid, "main.hot:entry { @ = count() }"),
            "bpftrace": lambda: bpftrace(plain.pid, "uprobe:{}:main.hot { @ = count() }"),
            "delve": lambda: dlv(debug.pid, "main.hot"),
        })  # fmt: skip
        costs = {"gotap": calls, "bpftrace": calls // 25, "delve": calls // 500}

        def traced(tracer: Tracer) -> float:
            target, count = (debug if tracer.name == "delve" else plain), costs[tracer.name]
            with started(tracer) as running:
                running.wait(tracer.ready, lambda: target.do("hot", 1))
                if tracer.name == "bpftrace":
                    wait_hit(target)
                spent = target.cpu(count)
                running.stop()
            return spent

        variants: dict[str, Callable[[], float]] = {"alone": lambda: plain.cpu(calls)}
        variants |= {name: lambda t=tracer: traced(t) for name, tracer in peers.items()}  # type: ignore[misc]
        found = alternate(variants, rounds)
    more = {name: values.less(found["alone"]) for name, values in found.items() if name != "alone"}
    told = {}
    for name, values in more.items():
        us = Values(tuple(value / 1e3 for value in values.all))
        bound = verdict(us.median, MOST_COUNT, "µs", 2) if name == "gotap" else ""
        told[name] = tell(f"a call that is counted, {name}", us, "µs", 2, bound)
    return [("`count()` of a hot function, a hit", told, f"{MOST_COUNT:.0f} µs")]


def wait_hit(target: Tracee) -> None:
    """Until calls have become dear: bpftrace says that it attaches before it has."""
    limit = time.perf_counter() + 10
    while target.do("hot", 1000) < 1000 * 300:
        if time.perf_counter() > limit:
            raise NotPossible("bpftrace's probe is not hit")


# -- the ring ---------------------------------------------------------------------------------------------------------


def through_the_ring(rounds: int, calls: int = 1_000_000) -> list[Row]:
    """Events of a hot function, read and decoded into columns in this process, but not formatted.

    How many a second: by the CPU time of whoever is busier, the target or the reader, as with a core for each; other
    work on the machine makes them fewer.
    """
    from bench.ring import decoded_events

    rates, walls, costs, lost = [], [], [], 0
    with tracee(build()) as target:
        for _ in range(rounds):
            one = decoded_events(target, 'main.hot:entry { printf("%d\\n", args.n) }', calls)
            rates.append(one.events / max(one.target, one.cpu))
            walls.append(one.events / one.seconds)
            costs.append(one.cpu / one.events * 1e6)
            lost += one.lost
    rate, cost = Values(tuple(rates)), Values(tuple(costs))
    told = tell("events a second, decoded", rate, "", 0,
                f"at least {LEAST_EVENTS}" if rate.median >= LEAST_EVENTS else f"BELOW {LEAST_EVENTS}")  # fmt: skip
    tell("  beside what else runs", Values(tuple(walls)), "", 0)
    python = tell("  Python's CPU an event", cost, "µs", 2, verdict(cost.median, MOST_PYTHON, "µs", 2))
    print(f"  lost: {lost} of {calls * rounds}")
    return [
        ("events a second through the ring", {"gotap": told}, f"{LEAST_EVENTS:,}"),
        ("Python's CPU an event, before formatting", {"gotap": python}, f"{MOST_PYTHON:.0f} µs"),
    ]
