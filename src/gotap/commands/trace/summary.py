"""What a person is told of tracing: what probes will cost, how much came, and what did not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gotap.bpf.codegen.script.script_frame import Counter
from gotap.commands.mechanisms import UPROBE
from gotap.commands.trace.session import TraceSession
from gotap.image.code import Cost
from gotap.observe.tracing.tracer import ProbeCounts
from gotap.probe.script.bound import BoundScript
from gotap.sinks.summary import counted, seconds

#: Events and firings that were lost.
DROPS = {
    Counter.RING_FULL: "ring full",
    Counter.FRAMES_BUSY: "all frames in use",
    Counter.CALLS_FULL: "too many open calls",
    Counter.NO_GOROUTINE: "goroutine unreadable",
    Counter.MAP_FULL: "map full",
    Counter.OWN_FULL: "too many goroutines with variables",
    Counter.STALE: "end missed",
}
#: What is told besides.
TOLD = {
    Counter.UNPAIRED: "in flight at the attach",
    Counter.UNREADABLE: "statements left out: a value could not be read",
    Counter.LOOP_CUT: "loops cut",
    Counter.HEAP_FULL: "values left out: no room in the event (--max-bytes)",
    Counter.DEPTH_CUT: "values cut (--max-depth)",
}

#: How a class of cost is called; what it comes to stands in docs/trace.md.
COSTS = {Cost.NOP5: "nop", Cost.EMULATED: "emulated", Cost.SINGLE_STEP: "single-stepped", Cost.FORBIDDEN: "forbidden"}

#: Probes whose costs are told one by one.
_MOST = 10


def costs(script: BoundScript, mechanism: str) -> list[str]:
    """What each probe's sites cost, before they are attached: a line a probe, but for those gotap adds (number 0)."""
    names = COSTS if mechanism == UPROBE else {**COSTS, Cost.NOP5: "by jump"}
    sites: dict[str, dict[Cost, int]] = {}
    for one in script.routines:
        for bound, _ in one.sites if one.number else ():
            counts = sites.setdefault(one.probe, {})
            counts[bound.site.cost] = counts.get(bound.site.cost, 0) + 1
    lines = [f"{probe}: {_classes(counts, names)}" for probe, counts in sites.items()]
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"and {len(lines) - _MOST} more probes"]


def _classes(counts: Mapping[Cost, int], names: Mapping[Cost, str]) -> str:
    classes = (f"{count:,} {names[cost]}" for cost, count in sorted(counts.items()))
    return f"{counted(sum(counts.values()), 'site')} ({', '.join(classes)})"


def summary(
    session: TraceSession,
    counts: Sequence[ProbeCounts],
    losses: Mapping[str, int],
    attached: float,
    unseen: Mapping[str, int],
) -> list[str]:
    """For stderr, without gotap's name before them. `losses`: of outputs; `unseen`: hits that no program has seen."""
    dropped = sum(one.counts[cause] for one in counts for cause in DROPS) + sum(unseen.values())
    hits = sum(one.counts[Counter.HITS] for one in counts)
    lost = _causes({cause: count for cause, count in {**unseen, **losses}.items() if count})
    first = (
        f"{counted(session.events, 'event')}, {counted(hits, 'probe hit')}, {dropped:,} dropped{lost}; "
        f"attached for {seconds(attached)}"
    )
    return [first, *_by_probe(counts)]


def _by_probe(counts: Sequence[ProbeCounts]) -> Iterator[str]:
    for one in counts:
        dropped = {words: one.counts[cause] for cause, words in DROPS.items() if one.counts[cause]}
        told = [f"{one.counts[cause]:,} {words}" for cause, words in TOLD.items() if one.counts[cause]]
        if dropped:
            told.insert(0, f"{sum(dropped.values()):,} dropped{_causes(dropped)}")
        if one.detached is not None:
            told.insert(0, f"detached after {seconds(one.detached)}, to stay below --max-overhead")
        if told:
            yield f"{one.probe}: {', '.join(told)}"


def _causes(counts: Mapping[str, int]) -> str:
    causes = ", ".join(f"{count:,} {cause}" for cause, count in counts.items())
    return f" ({causes})" if causes else ""


def again(pid: int, executed: Sequence[float], traced: float) -> str:
    """What is told when the same file was executed at these moments, and is traced from another one on.

    Without the kernel's help the moment is the last at which it had not happened, so that this is the most that was
    missed; and probes may stay in place over an execution.
    """
    times = "" if len(executed) == 1 else f" {len(executed)} times"
    missed = f"up to {1000 * (traced - executed[0]):,.0f} ms of it were not seen"
    return f"{pid} executed the same program again{times}, which is traced now; {missed}"
