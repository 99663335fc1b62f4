"""Tracing: records of the kernel in, events and maps out, until a limit, a signal, `stop` or the target's end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from msgspec import Struct, field

from gotap.bpf.machine import Ring
from gotap.commands.ends import HasFileno, Limits, Signals
from gotap.commands.main import print_error
from gotap.commands.trace.outputs import SHOWN, Moment, Output, Refreshed
from gotap.errors import GotapError
from gotap.probe.script.bound import BoundScript, EventKind
from gotap.probe.script.routine import Watch
from gotap.signals.clock import Clock
from gotap.signals.events import EventDecoder, Events, Names, Rows

if TYPE_CHECKING:
    from gotap.signals.maps import MapResult

#: Seconds between two looks at the ring, at most: somebody waits for events, and being woken for each costs 0.1 ms.
#: In the beginning they wait for the first one.
GATHER, GATHER_FIRST, BEGINNING = 0.1, 0.01, 0.5
#: The share of the ring that is read at once while something else takes long.
FULL_ENOUGH = 1 / 16
#: Seconds an output has at the end to hand on what it holds.
CLOSE_TIMEOUT = 5.0


class Kernel(Protocol):
    """What of gotap.observe.tracing.tracer.Tracer a session works with."""

    @property
    def ring(self) -> Ring: ...

    def events(self) -> Iterator[tuple[int, Rows]]:
        """(layout, records of one size)."""
        ...

    def run_due(self, now: float) -> float | None:
        """Runs the intervals that are due; when the next one is (time.monotonic())."""
        ...

    def end(self) -> None: ...


class TraceSession(Struct):
    """One script in the kernel, and where its events go. Single-threaded.

    `read_map`: a map's contents, of an epoch or the present one. `ticks` are called at every look. `counts`: whether an
    event is one of those that the limit is about.
    """

    script: BoundScript
    kernel: Kernel
    names: Names
    outputs: list[Output]
    limits: Limits
    signals: Signals
    read_map: Callable[[int, int | None], MapResult]
    ticks: list[Callable[[], None]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    decoders: dict[int, EventDecoder] = field(default_factory=dict)
    opened: list[Output] = field(default_factory=list)  # `outputs` and those that have failed
    counts: Callable[[Events, int], bool] = lambda events, row: True
    events: int = 0
    counted: int = 0  # of those, as the limit has it
    stopped: bool = False  # by `stop`, or since the count is complete
    out_of_time: bool = False

    def __post_init__(self) -> None:
        self.opened = list(self.outputs)
        elsewhere = {one.routine.layout.operation_id for one in self.script.routines
                     if isinstance(one.routine, Watch) and one.origin is not None}  # fmt: skip
        for number, layout in self.script.layouts.items():
            specs = {event: spec for (of, event), spec in self.script.events.items() if of == number}
            self.decoders[number] = EventDecoder(
                layout, specs, self.names, self.clock, sited=number not in elsewhere
            )

    @property
    def limit_reached(self) -> bool:
        return self.stopped or self.out_of_time

    def run(self, until: Callable[[], bool], *others: HasFileno, unlimited: bool = False) -> None:
        """Moves records until a limit, a signal, `until`, or until nobody listens. `others` wake it when readable."""
        started = time.monotonic()
        ends_at = math.inf if self.limits.duration is None or unlimited else started + self.limits.duration
        due = self.kernel.run_due(started)
        while True:
            now = time.monotonic()
            gather = GATHER_FIRST if now - started < BEGINNING else GATHER
            wake_at = min(now + gather, ends_at, math.inf if due is None else due)
            self.signals.wait(self.kernel.ring, *others, timeout=wake_at - now)
            due = self.kernel.run_due(time.monotonic())
            self.drain()
            self.refresh()
            for tick in self.ticks:
                tick()
            if time.monotonic() >= ends_at:
                self.out_of_time = True
            if (self.limit_reached and not unlimited) or self.signals.received or self.signals.leave:
                return
            if until() or not self.outputs:
                return

    def keep_up(self) -> None:
        """To be called again and again where something else than moving records takes long."""
        if self.kernel.ring.waiting() >= self.kernel.ring.size * FULL_ENOUGH:
            self.drain()

    def drain(self) -> None:
        """Everything that has arrived, to the outputs; nothing that came after `stop`."""
        if self.stopped:
            return
        batches = [
            batch
            for layout, rows in self.kernel.events()
            if (decoder := self.decoders.get(layout)) is not None
            for batch in decoder.decode(rows)
        ]
        if batches:
            self.deliver(batches)

    def deliver(self, batches: Sequence[Events]) -> None:
        shown: list[Moment] = _in_order(batches)
        maps: dict[Moment, MapResult] = {}
        if any(batch.spec.kind not in SHOWN for batch in batches):
            shown, maps = self.obeyed(batches, shown)
        if self.limits.count is not None:
            shown = self.limited(batches, shown, maps, self.limits.count)
        self.events += len(shown) - sum(moment in maps for moment in shown) if maps else len(shown)
        if shown:
            self.each(lambda output: output.take(batches, shown, maps))

    def obeyed(
        self, batches: Sequence[Events], moments: Sequence[Moment]
    ) -> tuple[list[Moment], dict[Moment, MapResult]]:
        """What is to be shown, up to `stop`, with the maps as they were when they were to be printed."""
        shown: list[Moment] = []
        maps: dict[Moment, MapResult] = {}
        for moment in moments:
            events, row = batches[moment[0]], moment[1]
            if events.spec.kind is EventKind.STOP:
                self.stopped = True
                break
            if events.spec.kind is EventKind.MAP and events.spec.map is not None:
                maps[moment] = self.read_map(events.spec.map, events.weight[row])
            if events.spec.kind is not EventKind.CLEARED:
                shown.append(moment)
        return shown, maps

    def limited(
        self, batches: Sequence[Events], moments: Sequence[Moment], maps: Mapping[Moment, MapResult], most: int
    ) -> list[Moment]:
        """The first ones, with `most` of what counts in the whole session; maps do not."""
        shown: list[Moment] = []
        for moment in moments:
            shown.append(moment)
            self.counted += moment not in maps and self.counts(batches[moment[0]], moment[1])
            if self.counted >= most:
                self.stopped = True
                break
        return shown

    def each(self, action: Callable[[Output], None]) -> None:
        """Calls every output. One that fails is told, once, and gets nothing any more."""
        for output in list(self.outputs):
            try:
                action(output)
            except GotapError as error:
                print_error(error)
                self.outputs.remove(output)

    def finish(self) -> None:
        """Runs `end`, shows what is still to be shown and all maps. The target's probes are out by then."""
        if self.stopped:
            for _ in self.kernel.events():  # came too late
                pass
        else:
            self.drain()
        self.stopped, self.limits = False, Limits()  # limits are not for what `end` shows
        self.kernel.end()
        self.drain()
        results = self.read_maps()
        self.each(lambda output: output.maps(results))

    def read_maps(self) -> list[MapResult]:
        """All maps that hold something now."""
        results = (self.read_map(spec.number, None) for spec in self.script.maps)
        return [result for result in results if result.entries]

    def refresh(self) -> None:
        """Shows maps to outputs that want them now and then."""
        now = time.monotonic()
        waiting = [output for output in self.outputs if isinstance(output, Refreshed) and output.is_due(now)]
        if waiting and (results := self.read_maps()):
            self.each(lambda output: output.maps(results) if output in waiting else None)

    def close(self) -> Mapping[str, int]:
        """What the outputs have lost."""
        losses: dict[str, int] = {}
        for output in self.opened:
            output.close(CLOSE_TIMEOUT)
            for cause, count in output.losses().items():
                losses[cause] = losses.get(cause, 0) + count
        return losses


def _in_order(batches: Sequence[Events]) -> list[Moment]:
    orders = np.concatenate([np.array(batch.order, np.uint64) for batch in batches])
    numbers = np.repeat(np.arange(len(batches)), [len(batch) for batch in batches])
    rows = np.concatenate([np.arange(len(batch)) for batch in batches])
    if len(batches) > 1 or (orders[1:] < orders[:-1]).any():
        order = np.argsort(orders, kind="stable")
        numbers, rows = numbers[order], rows[order]
    return list(zip(numbers.tolist(), rows.tolist(), strict=True))
