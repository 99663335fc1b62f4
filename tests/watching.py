"""gotap's line from probe to span, driven in this process: attach, let things happen, look at the spans.

Nothing is guessed about time: `settle` waits until every operation that began has ended, and takes its record.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from gotap.bpf.codegen import frame
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.tracing import Sampling
from gotap.commands.mechanisms import UPROBE, Machines
from gotap.commands.targets import Target, Targets
from gotap.observe.watch import Totals
from gotap.observe.watchers import Watchers
from gotap.probe.convert import Param
from gotap.signals.batch import Spans
from gotap.signals.codes import value_at
from gotap.sinks.environment import Environment
from processes import PATIENCE, eventually

Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Span:
    """One span as a test reads it. Ids are hexadecimal, "" for no parent; times are Unix nanoseconds."""

    operation: str
    kind: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str | None
    flags: int
    sampled: bool
    start: int
    end: int
    error: bool
    attributes: dict[str, Value]
    resource: Mapping[str, object]

    def __getitem__(self, key: str) -> Value | None:
        return self.attributes.get(key)

    @property
    def milliseconds(self) -> float:
        return (self.end - self.start) / 1e6

    def is_child_of(self, other: Span) -> bool:
        return self.parent_id == other.span_id and self.trace_id == other.trace_id


def spans_of(batch: Spans) -> Iterator[Span]:
    """The spans of a batch, one by one."""
    for i in range(len(batch)):
        attributes = {key: value_at(column, i) for key, column in batch.attributes.items()}
        parent = batch.parent_id[i].tobytes()
        state = batch.trace_state.values[i]
        yield Span(
            batch.output.operation,
            batch.output.kind,
            str(value_at(batch.name, i)),
            batch.trace_id[i].tobytes().hex(),
            batch.span_id[i].tobytes().hex(),
            parent.hex() if any(parent) else "",
            state.decode() if state is not None else None,
            int(batch.flags[i]),
            bool(batch.sampled[i]),
            int(batch.start[i]),
            int(batch.end[i]),
            bool(batch.error[i]),
            {
                key: value.decode() if isinstance(value, bytes) else value
                for key, value in attributes.items()
                if value is not None
            },
            batch.resource.attributes,
        )


@dataclass(slots=True)
class Watch:
    """Watchers with their targets; `batches` holds what has arrived so far."""

    watchers: Watchers
    targets: Targets
    watched: dict[int, Target] = field(default_factory=dict)
    batches: list[Spans] = field(default_factory=list)
    _draining: threading.Lock = field(default_factory=threading.Lock)

    def attach(self, pid: int) -> Target:
        target = self.targets.open(pid)
        self.watched[target.attachment.number] = target
        return target

    def detach(self, target: Target) -> int:
        """How many operations were in flight."""
        in_flight = self.watchers.detach(target.attachment)
        self.drain()
        del self.watched[target.attachment.number]
        self.targets.retire(target.attachment)
        target.process.close()
        return in_flight

    def drain(self) -> None:
        with self._draining:
            for number, operation, rows in self.watchers.records():
                batch = self.watched[number].decode(operation, rows)
                if batch is not None and len(batch):
                    self.batches.append(batch)

    @property
    def totals(self) -> Totals:
        return self.watchers.totals()

    @property
    def counters(self) -> dict[Counter, int]:
        return self.totals.counters

    def in_flight(self) -> int:
        return sum(len(list(one.maps[frame.ROWS].keys())) for one in self.watchers.all)

    def settle(self) -> None:
        """Waits until no operation is open any more. What a test began must have been answered by then."""
        eventually(lambda: self.in_flight() == 0, "the end of all operations")
        self.drain()

    def spans(self, kind: str = "") -> list[Span]:
        """All spans so far, of one kind or of all; waits for open operations first."""
        self.settle()
        return [span for batch in self.batches for span in spans_of(batch) if kind in ("", batch.output.kind)]

    def server(self) -> list[Span]:
        return self.spans("server")

    def client(self) -> list[Span]:
        return self.spans("client")

    def take(self, kind: str = "") -> list[Span]:
        """The spans so far, which are then forgotten."""
        found = self.spans(kind)
        self.batches.clear()
        return found

    def wait_for(self, count: int, kind: str) -> list[Span]:
        """Waits for that many spans while others may go on."""

        def enough() -> list[Span]:
            self.drain()
            found = [span for batch in self.batches for span in spans_of(batch) if batch.output.kind == kind]
            return found if len(found) >= count else []

        return eventually(enough, f"span {count}")

    def count(self, kind: str) -> int:
        return sum(len(batch) for batch in self.batches if batch.output.kind == kind)

    def distinct_ids(self) -> int:
        """How many different span ids there are, over all batches."""
        ids = [np.ascontiguousarray(batch.span_id).view("<u8")[:, 0] for batch in self.batches]
        return len(np.unique(np.concatenate(ids))) if ids else 0

    def tally(self, kind: str, attribute: str) -> Tally[Value | None]:
        """How often each value of an attribute occurs."""
        found: Tally[Value | None] = Tally()
        for batch in self.batches:
            if batch.output.kind == kind:
                column = batch.attributes[attribute]
                found.update(value_at(column, i) for i in range(len(batch)))
        return found

    def losses(self) -> dict[str, int]:
        """Everything that a correct run leaves at 0."""
        counters = self.counters
        causes = (Counter.STALE, Counter.ROWS_FULL, Counter.RING_FULL, Counter.NO_GOROUTINE, Counter.HEAP_FULL)
        found = {cause.name: counters[cause] for cause in causes if counters[cause]}
        rejected = sum(target.rejected for target in self.watched.values())
        return found | ({"rejected": rejected} if rejected else {})

    @contextmanager
    def drained(self) -> Iterator[None]:
        """Takes records while the block runs, as a session does: under load the ring would overflow."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.03):
                self.drain()

        worker = threading.Thread(target=work)
        worker.start()
        try:
            yield
        finally:
            stop.set()
            worker.join(PATIENCE)
            self.drain()


@contextmanager
def watching(
    *pids: int,
    sampling: Sampling | None = None,
    options: Mapping[str, Param] | None = None,
    environment: Mapping[str, str] | None = None,
    via: str = os.environ.get("GOTAP_TEST_VIA", UPROBE),
) -> Iterator[Watch]:
    """Watches these processes until the block ends; everything is detached then."""
    machines, watchers = Machines(via, "watch"), Watchers(sampling or Sampling())
    watch = Watch(watchers, Targets(watchers, machines, Environment(environment or {}), options or {}))
    try:
        for pid in pids:
            watch.attach(pid)
        yield watch
    finally:
        for target in list(watch.watched.values()):
            watch.detach(target)
        watchers.close()
        machines.close()


def overlapping(first: Span, second: Span) -> bool:
    return first.start < second.end and second.start < first.end


def patience() -> float:
    """When a test's own loop must give up (time.monotonic)."""
    return time.monotonic() + PATIENCE
