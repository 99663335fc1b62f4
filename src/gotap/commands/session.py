"""Watching: targets in, signals out, until a duration, a count, a signal or the last target's end."""

from __future__ import annotations

import math
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterator

from msgspec import Struct, field

from gotap.bpf.codegen.frame import Counter
from gotap.commands.ends import Limits, Signals
from gotap.commands.main import print_error
from gotap.commands.mechanisms import AUTO
from gotap.commands.memory import give_back, keep_for_batches
from gotap.commands.streams import say
from gotap.commands.targets import Target, Targets
from gotap.errors import GotapError
from gotap.signals.batch import Resource, Spans
from gotap.signals.metrics import Metrics
from gotap.sinks.sink import InOrder, Sink
from gotap.sinks.summary import Summary

#: Seconds between two looks at targets and sinks, at most. What must not wait wakes us: signals, a target's end, a ring
#: that fills. Being woken costs 0.1 to 0.25 ms of CPU on a virtual machine, whatever is done then.
LOOK = 0.5
#: Seconds that records may gather in the ring, since a batch costs about a millisecond besides what its spans cost.
GATHER = 0.25
#: The share of the ring that ends this earlier.
FULL_ENOUGH = 1 / 16
#: Seconds a sink has at the end to hand on what it holds.
CLOSE_TIMEOUT = 5.0


class Tally(Struct):
    """What the summary tells."""

    spans: int = 0
    errors: int = 0
    in_flight_at_detach: int = 0
    rejected: int = 0
    broken_texts: int = 0
    attached_at: float = 0.0
    targets: int = 0  # since the beginning


class Session(Struct):
    """Moves records of all targets to the sinks. Single-threaded; sinks must not block."""

    targets: Targets
    sinks: list[Sink]
    metrics: Metrics
    limits: Limits
    metric_interval: float
    signals: Signals
    watched: dict[int, Target] = field(default_factory=dict)  # by attachment number
    tally: Tally = field(default_factory=Tally)
    on_tick: list[Callable[[], None]] = field(default_factory=list)
    gather: float = GATHER
    look: float = LOOK
    drained_at: float = 0.0  # time.monotonic()
    ended: list[Resource] = field(default_factory=list)  # of targets that are gone, whose metrics go out once more
    limit_reached: bool = False  # the duration is over, or the count complete
    opened: list[Sink] = field(default_factory=list)  # `sinks` and those that have failed

    def __post_init__(self) -> None:
        self.opened = list(self.sinks)
        if self.limits.count is not None:  # somebody waits for the last of them
            self.gather = min(self.gather, GATHER)

    def add(self, pid: int) -> Target:
        """Attaches to one more process; GotapError says why not."""
        target = self.targets.open(pid, self.keep_up)
        self.tally.attached_at = self.tally.attached_at or time.monotonic()
        self.watched[target.attachment.number] = target
        self.tally.targets += 1
        return target

    def announce(self) -> None:
        """The line that scripts wait for: all probes are in place."""
        names = ", ".join(f"{target.pid} ({target.process.name})" for target in self.watched.values())
        say(f"attached to PID {names}", *self.placed())
        for sink in self.sinks:
            if (start := getattr(sink, "start", None)) is not None:  # a display, which shows that it waits for spans
                start()
        give_back()
        keep_for_batches()

    def placed(self) -> Iterator[str]:
        """By which mechanisms, where that was not said."""
        if self.targets.machines.via != AUTO:
            return
        for target in self.watched.values():
            yield "; ".join([f"{target.pid} by {target.mechanism}", *target.why])

    def run(
        self, until: Callable[[], bool] = lambda: False, *, alone: bool = False, unlimited: bool = False
    ) -> None:
        """Moves records until a limit, a signal, `until`, or the end of the last target.

        `alone`: go on without targets, since more may come; `unlimited`: the limits have been reached already.
        """
        started = time.monotonic()
        ends_at = math.inf if self.limits.duration is None or unlimited else started + self.limits.duration
        next_metrics = started + self.metric_interval
        while True:
            now = time.monotonic()
            self.wait(min(now + self.look, self.drained_at + self.gather, next_metrics, ends_at) - now)
            if self.gathered():
                self.drain()
            for tick in self.on_tick:
                tick()
            now = time.monotonic()
            if now >= next_metrics:
                next_metrics += self.metric_interval
                if next_metrics <= now:  # gotap was stopped for long: what was missed is not made up for
                    next_metrics = now + self.metric_interval
                self.export_metrics()
            if self.limits.duration is not None and now - started >= self.limits.duration:
                self.limit_reached = True
            if self.limit_reached and not unlimited:
                return
            if self.signals.received or self.signals.leave or until() or not self.sinks or not (self.watched or alone):
                return

    def wait(self, timeout: float) -> None:
        """Sleeps for `timeout` seconds; a signal, a target's end or a ring that fills cuts it short."""
        processes = (target.process for target in self.watched.values())
        rings = self.targets.watchers.rings
        readable = self.signals.wait(*rings, *processes, timeout=timeout)
        if any(ring.fileno() in readable for ring in rings):
            self.drain()  # whatever waits: the ring stays readable until it is read
        for target in [one for one in self.watched.values() if not one.process.is_alive()]:
            self.remove(target)

    def gathered(self) -> bool:
        """Whether what waits in the ring is to be taken now."""
        return time.monotonic() - self.drained_at >= self.gather or self.fills()

    def fills(self) -> bool:
        """Whether so much waits in the ring that it cannot wait longer."""
        return any(ring.waiting() >= ring.size * FULL_ENOUGH for ring in self.targets.watchers.rings)

    def keep_up(self) -> None:
        """To be called again and again where something else than moving records takes long."""
        if self.fills():
            self.drain()

    def remove(self, target: Target) -> None:
        """Detaches one target after taking what it left."""
        self.drain()
        self.tally.in_flight_at_detach += self.targets.watchers.detach(target.attachment, self.keep_up)
        self.drain()
        self.targets.retire(target.attachment)
        self.tally.rejected += target.rejected
        self.tally.broken_texts += target.broken_texts
        del self.watched[target.attachment.number]
        self.ended.append(target.resource)
        target.process.close()

    def drain(self) -> None:
        """Everything that has arrived, to the sinks."""
        self.drained_at = time.monotonic()
        for number, operation, rows in self.targets.watchers.records():
            target = self.watched.get(number)
            if target is None:
                continue
            if self.limits.count is not None:
                rows = rows[: max(0, self.limits.count - self.tally.spans)]
            spans = target.decode(operation, rows) if len(rows) else None
            if spans is not None and len(spans):
                self.deliver(spans)
        self.each(lambda sink: sink.flush(several=self.tally.targets > 1) if isinstance(sink, InOrder) else None)

    def deliver(self, spans: Spans) -> None:
        self.tally.spans += len(spans)
        self.tally.errors += int(spans.error.sum())
        self.metrics.add(spans)
        self.each(lambda sink: sink.export(spans))
        if self.limits.count is not None and self.tally.spans >= self.limits.count:
            self.limit_reached = True

    def export_metrics(self) -> None:
        histograms = self.metrics.collect()
        if histograms:
            self.each(lambda sink: sink.export_metrics(histograms))
        for resource in self.ended:
            self.metrics.forget(resource)
        self.ended.clear()

    def each(self, action: Callable[[Sink], None]) -> None:
        """Calls every sink. One that fails is told, once; it still gets everything, to keep or to count it as lost."""
        for sink in self.opened:
            try:
                action(sink)
            except GotapError as error:
                if sink in self.sinks:
                    print_error(error)
                    self.sinks.remove(sink)

    def detach(self) -> None:
        """Takes all probes out."""
        for target in list(self.watched.values()):
            self.remove(target)

    def close(self) -> Summary:
        """Detaches everything, writes out what is left, and says what was."""
        started = time.monotonic()
        self.detach()
        self.export_metrics()
        totals = self.targets.watchers.totals()
        for sink in self.opened:
            sink.close(CLOSE_TIMEOUT)
        losses: Counts[str] = Counts()
        for sink in self.opened:
            losses.update(sink.losses())
        counters = totals.counters
        causes = {
            "ring full": counters[Counter.RING_FULL],
            "too many in flight": counters[Counter.ROWS_FULL],
            "goroutine unreadable": counters[Counter.NO_GOROUTINE],
            "end missed": counters[Counter.STALE],
            "record not understood": self.tally.rejected,
        }
        unseen = self.targets.machines.losses()
        return Summary(
            spans=self.tally.spans,
            errors=self.tally.errors,
            drops={cause: count for cause, count in (causes | unseen | losses).items() if count},
            attached=started - self.tally.attached_at if self.tally.attached_at else 0.0,
            in_flight_at_attach=counters[Counter.NO_BEGIN],
            in_flight_at_detach=self.tally.in_flight_at_detach,
            hits=sum(totals.hits.values()),
            run_time=totals.run_time / 1e9,
            runs=totals.runs,
            left_out={"no room in the record": counters[Counter.HEAP_FULL], "not understood": self.tally.broken_texts},
        )
