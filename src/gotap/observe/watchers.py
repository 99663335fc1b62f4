"""The watchers of one session: one for all that the kernel runs, one for each process that runs programs itself."""

from __future__ import annotations

import itertools
from collections import Counter as Counts
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.tracing import Sampling
from gotap.bpf.machine import Executable, Machine, Meanwhile, Ring
from gotap.observe.watch import Attachment, Totals, Watcher
from gotap.probe.binding import Binding


class Watchers:
    """Numbers of targets are unique over all of them. Closing it leaves nothing behind."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._numbers = itertools.count(1)
        self._watchers: dict[Machine, Watcher] = {}
        self._owners: dict[int, Watcher] = {}  # by number of an attachment
        self._past = _none()

    def on(self, machine: Machine) -> Watcher:
        """The watcher that works with this machine; made when it is asked for."""
        if machine not in self._watchers:
            self._watchers[machine] = Watcher(machine, self._sampling, self._numbers)
        return self._watchers[machine]

    def attach(self, machine: Machine, executable: Executable, binding: Binding, meanwhile: Meanwhile = None
               ) -> Attachment:  # fmt: skip
        """As Watcher.attach, on this machine."""
        watcher = self.on(machine)
        attachment = watcher.attach(executable, binding, meanwhile)
        self._owners[attachment.number] = watcher
        return attachment

    def detach(self, attachment: Attachment, meanwhile: Meanwhile = None) -> int:
        """As Watcher.detach."""
        return self._owners[attachment.number].detach(attachment, meanwhile)

    def machine_of(self, attachment: Attachment) -> Machine:
        return self._owners[attachment.number].machine

    def retire(self, machine: Machine) -> None:
        """What this machine ran is over: its memory is given back, what it counted stays."""
        if (watcher := self._watchers.pop(machine, None)) is not None:
            self._past = _sum([self._past, watcher.totals()])
            watcher.close()

    @property
    def all(self) -> Sequence[Watcher]:
        return list(self._watchers.values())

    @property
    def rings(self) -> Sequence[Ring]:
        return [watcher.ring for watcher in self._watchers.values()]

    def records(self) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
        """As Watcher.records, of all."""
        for watcher in list(self._watchers.values()):
            yield from watcher.records()

    def totals(self) -> Totals:
        return _sum([self._past, *(watcher.totals() for watcher in self._watchers.values())])

    def close(self) -> None:
        for machine in list(self._watchers):
            self._watchers.pop(machine).close()


def _none() -> Totals:
    return Totals({one: 0 for one in Counter if one is not Counter.HITS}, {}, 0, 0)


def _sum(parts: Sequence[Totals]) -> Totals:
    hits: Counts[str] = Counts()
    for part in parts:
        hits.update(part.hits)
    counters = {one: sum(part.counters[one] for part in parts) for one in parts[0].counters}
    return Totals(counters, dict(hits), sum(part.run_time for part in parts), sum(part.runs for part in parts))
