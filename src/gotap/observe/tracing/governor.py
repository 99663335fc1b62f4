"""Keeps a tracer below its budget: measures once a second, thins and drops probes, says so."""

from __future__ import annotations

import contextlib
from typing import Self

from msgspec import Struct

from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.machine import Program
from gotap.observe.tracing.budget import Budget, Detach, Load, Thin
from gotap.observe.tracing.programs import Part
from gotap.observe.tracing.tracer import Tracer
from gotap.probe.script.routine import Enter, Watch

#: Seconds between two measurements.
PERIOD = 1.0


class _Sum(Struct):
    """Of one probe's programs: how often they were passed, ns of traps and of runs."""

    passes: float = 0
    trap: float = 0
    run: float = 0
    thinnable: bool = False


class Governor:
    """Switches the measuring of programs on while it is open, where it may."""

    def __init__(self, tracer: Tracer, share: float) -> None:
        """`share`: of one core, 0.05 is 5 %. The tracer must have been made with `thinning`."""
        self._tracer = tracer
        self._budget = Budget(share)
        self._factors: dict[int, int] = {}
        self._seen: dict[Program, tuple[int, int]] = {}  # runs and run time at the last look
        self._hits: dict[int, int] = {}  # by probe, where the kernel does not measure
        self._at: float | None = None
        self._undo = contextlib.ExitStack()
        self.measures = self._undo.enter_context(tracer.machine.measuring())

    def due(self) -> float | None:
        """When `look` is to be called next, by time.monotonic(); None: at any time."""
        return None if self._at is None else self._at + PERIOD

    def look(self, now: float) -> list[str]:
        """Measures, if it is time to, and does what has to be done; returns what to tell the user about it."""
        if self._at is not None and now < self._at + PERIOD:
            return []
        first, elapsed = self._at is None, now - (self._at or now)
        self._at = now
        loads = self._loads(elapsed)
        if first or elapsed <= 0:
            return []
        texts = []
        for action in self._budget.decide(loads):
            match action:
                case Thin(number, factor):
                    self._factors[number] = factor
                    self._tracer.thin(number, factor)
                case Detach(number):
                    self._tracer.drop(number)
            texts.append(action.text)
        return texts

    def _loads(self, elapsed: float) -> list[Load]:
        """What each probe has done since the last look, `elapsed` seconds ago."""
        before, self._seen = self._seen, {}
        sums: dict[int, _Sum] = {}
        for loaded in self._tracer.loaded():
            stats = loaded.program.stats()
            self._seen[loaded.program] = stats.runs, stats.run_time_ns
            runs, run_time = before.get(loaded.program, (0, 0))
            passes = stats.runs - runs
            routine = loaded.part.routine
            one = sums.setdefault(routine.number, _Sum())
            one.passes += passes
            one.trap += passes * self._trap(loaded.part)
            one.run += stats.run_time_ns - run_time
            one.thinnable |= isinstance(routine.routine, Watch | Enter)
        if not self.measures:
            self._estimate(sums)
        self._share_endings(sums)
        return [
            Load(number, self._tracer.names[number], one.passes / elapsed, one.trap / one.passes, one.run / one.passes,
                 self._factors.get(number, 1) if one.thinnable else 0)
            for number, one in sums.items()
            if one.passes and elapsed > 0 and not self._tracer.is_dropped(number)
        ]  # fmt: skip

    def _share_endings(self, sums: dict[int, _Sum]) -> None:
        """What it costs to see calls end without returning is the cost of the probe whose calls are the most."""
        endings = sums.pop(0, None)
        routines = [one.part.routine for one in self._tracer.loaded()]
        followed = {one.number for one in routines if isinstance(one.routine, Enter)}
        calls = [sums[number] for number in followed & sums.keys()]
        if endings is not None and calls:
            most = max(calls, key=lambda one: one.passes)
            most.trap += endings.trap
            most.run += endings.run

    def _trap(self, part: Part) -> float:
        origin = part.routine.origin
        if origin is None:
            return self._tracer.machine.trap_cost(part.cost)
        return self._tracer.machine.trap_cost(part.routine.cost) if origin.kind == "uprobe" else 0.0

    def _estimate(self, sums: dict[int, _Sum]) -> None:
        """From the hits that programs count, of which thinning leaves a part only."""
        traps: dict[int, float] = {}
        for loaded in self._tracer.loaded():
            number = loaded.part.routine.number
            traps[number] = max(traps.get(number, 0.0), self._trap(loaded.part))
        for probe in self._tracer.counts():
            hits = probe.counts[Counter.HITS]
            if probe.number in sums:
                one, factor = sums[probe.number], self._factors.get(probe.number, 1)
                taken = hits - self._hits.get(probe.number, 0)
                one.passes = taken * factor
                one.trap = one.passes * traps[probe.number]
                one.run = taken * self._tracer.machine.unmeasured
            self._hits[probe.number] = hits

    def close(self) -> None:
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
