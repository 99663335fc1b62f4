"""Watching processes: maps shared by all targets of a machine, programs and links of each, records out."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from gotap.bpf.codegen import frame
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.program import Options, Place, Target, generate, scoping
from gotap.bpf.codegen.tracing import Sampling
from gotap.bpf.enums import MapType
from gotap.bpf.machine import Attachable, Executable, Link, Machine, Map, Meanwhile, Program, Source
from gotap.observe.sweep import sweep
from gotap.probe import ir
from gotap.probe.binding import Binding, BoundProbe
from gotap.probe.places import BoundSite
from gotap.probe.record import HEADER

#: Operations in flight at once, over all targets; more are counted as ROWS_FULL and not watched.
IN_FLIGHT = 16384
#: Goroutines that remember which operation they were created under.
LINKS = 8192
#: The reader is woken when an eighth is full (codegen.wake), so there is time for the rest.
RING_SIZE = 4 << 20
#: Seconds between looks whether operations had no room, and the part of the rows that then is made free.
_SWEEP_INTERVAL, _SWEPT = 60, 8

_NO_PREALLOC = 1
_PROBE_LIMIT = frame.COUNTER_COUNT - Counter.HITS


class Attachment(Struct):
    """One watched process: closing its links detaches it."""

    executable: Executable
    number: int
    programs: list[Program] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    sites: int = 0


class Totals(Struct, frozen=True):
    """Counters since the start, summed over CPUs and targets. `hits`: probe name → hits."""

    counters: dict[Counter, int]
    hits: dict[str, int]
    run_time: int  # ns spent in the programs, 0 where the kernel does not measure
    runs: int


class HitNumbers:
    """Which counter counts the hits of which probe. There are `limit`; the last one is for all that come too late."""

    OTHERS = "(others)"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.numbers: dict[str, int] = {}

    def number(self, probe: str) -> int:
        if probe not in self.numbers and len(self.numbers) >= self.limit - 1:
            probe = self.OTHERS
        return self.numbers.setdefault(probe, len(self.numbers))


class Watcher:
    """Owns the maps; attaches and detaches targets; hands out records. Closing it leaves nothing behind."""

    def __init__(self, machine: Machine, sampling: Sampling, numbers: Iterator[int] | None = None) -> None:
        """`numbers`: of targets to come, where several watchers share them."""
        self.machine = machine
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._hits = HitNumbers(_PROBE_LIMIT)
        self._attached: dict[int, Attachment] = {}
        self._too_early = 0  # ends without a begin while begins were not watched yet
        self._full = 0  # begins without room until the last look, see _sweep
        self._sweep_at = 0.0
        self._swept = 0
        self._past = [0, 0]  # run time and runs of programs that are detached
        self.options = Options(sampling, machine.features.has("bpf_loop"))
        rows_flags = _NO_PREALLOC if machine.features.has("no_prealloc") else 0
        in_flight = IN_FLIGHT if rows_flags else IN_FLIGHT // 16
        self.maps: dict[str, Map] = {}
        try:
            self._map(frame.ROWS, MapType.HASH, frame.ROW_KEY_SIZE, frame.ROW_SIZE, in_flight, rows_flags)
            self._map(frame.SPILL, MapType.HASH, frame.ROW_KEY_SIZE, frame.RECORD_SIZE, in_flight // 2, rows_flags)
            self._map(frame.SCOPES, MapType.HASH, frame.SCOPE_KEY_SIZE, frame.SCOPE_SIZE, 2 * in_flight, rows_flags)
            self._map(frame.LINKS, MapType.LRU_HASH, frame.SCOPE_KEY_SIZE, frame.LINK_SIZE, LINKS)
            self._map(frame.COUNTERS_MAP, MapType.PERCPU_ARRAY, 4, 8 * frame.COUNTER_COUNT, 1)
            self._map(frame.TEMPLATE, MapType.ARRAY, 4, frame.ROW_SIZE, 1)
            self._map(frame.SPILL_TEMPLATE, MapType.ARRAY, 4, frame.RECORD_SIZE, 1)
            self._map(frame.NO_PROGRAMS, MapType.PROG_ARRAY, 4, 4, 1)
            self.ring = machine.make_ring(RING_SIZE)
        except BaseException:
            self.close()
            raise

    def _map(self, name: str, kind: MapType, key: int, value: int, entries: int, flags: int = 0) -> None:
        self.maps[name] = self.machine.make_map(kind, key, value, entries, flags, f"gotap_{name}"[:15])

    def attach(self, executable: Executable, binding: Binding, meanwhile: Meanwhile = None
               ) -> Attachment:
        """Puts all probes of the binding into one process; all or nothing.

        `meanwhile` should take the records of others. It is called until the first probe goes in, so it gets none of
        this process, whose number nobody knows yet.
        """
        attachment = Attachment(executable, next(self._numbers))
        actions = [probe.action for probe in _probes(binding)]
        target = Target(
            attachment.number,
            executable.pid,
            None if self.machine.inside else executable.tgid,
            executable.bias,
            binding.goid,
            binding.stack_high,
            scoping(actions),
            any(isinstance(action, ir.Begin) and action.context is not None for action in actions),
        )
        before = self._counters()[Counter.NO_BEGIN]
        try:
            self._attach_probes(attachment, target, list(_probes(binding)), meanwhile)
        except BaseException:
            self._release(attachment)
            self._forget(attachment.number)
            raise
        self._too_early += self._counters()[Counter.NO_BEGIN] - before
        self._attached[attachment.number] = attachment
        return attachment

    def _attach_probes(
        self,
        attachment: Attachment,
        target: Target,
        probes: Sequence[BoundProbe],
        meanwhile: Meanwhile,
    ) -> None:
        parts = [(probe, place, sites) for probe in probes for place, sites in _by_place(probe)]
        numbers = {one.name: self._hits.number(one.name) for one in probes}
        # What goes in last, the begins, takes the verifier longest.
        codes = (
            generate(probe.action, place, target, self.options, numbers[probe.name])
            for probe, place, _ in reversed(parts)
        )
        maps = {**self.maps, frame.RING: self.ring.map}
        programs = self.machine.load((Source(code, maps) for code in codes), meanwhile)
        attachment.programs.extend(programs)
        wanted = [
            Attachable(program, [(site.file_offset, 0) for site in sites], begins=isinstance(probe.action, ir.Begin))
            for program, (probe, _, sites) in zip(reversed(programs), parts, strict=True)
        ]
        attachment.links.extend(self.machine.attach(attachment.executable, wanted))
        attachment.sites = sum(len(one.sites) for one in wanted)

    def detach(self, attachment: Attachment, meanwhile: Meanwhile = None) -> int:
        """Takes the probes out; returns how many operations were in flight. Their rows are removed.

        `meanwhile` should take records: those that still come while the probes go would fill the ring.
        """
        self._attached.pop(attachment.number, None)
        self._release(attachment, meanwhile)
        return self._forget(attachment.number)

    def _release(self, attachment: Attachment, meanwhile: Meanwhile = None) -> None:
        # Against the order of attaching: an operation that begins when its end is no longer watched would be a loss.
        self.machine.detach(attachment.links[::-1], meanwhile)
        for program in attachment.programs:
            stats = program.stats()
            self._past[0] += stats.run_time_ns
            self._past[1] += stats.runs
            program.close()
        attachment.links.clear()
        attachment.programs.clear()

    def _forget(self, number: int) -> int:
        rows = 0
        prefix = struct.pack("<I", number)
        # Links are forgotten by themselves: no target gets this number again.
        for name in (frame.ROWS, frame.SPILL, frame.SCOPES):
            map = self.maps[name]
            gone = {key for key in map.keys() if key.startswith(prefix)}  # noqa: SIM118
            for key in gone:
                map.delete(key)
            if name == frame.ROWS:
                rows = len(gone)
        return rows

    def records(self) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
        """(target number, operation id, rows) of what has arrived; rows of one size each, in the order they came."""
        self._sweep()
        for rows in self.ring.read():
            header = rows[:, : HEADER.itemsize].view(HEADER)[:, 0]
            kinds = header["target"].astype(np.int64) << 16 | header["operation"]
            if (kinds == kinds[0]).all():
                yield int(kinds[0]) >> 16, int(kinds[0]) & 0xFFFF, rows
                continue
            for kind in sorted(set(kinds.tolist())):
                yield kind >> 16, kind & 0xFFFF, rows[kinds == kind]

    def _sweep(self) -> None:
        """Gives up operations that began long ago when others find no room."""
        now = time.monotonic()
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP_INTERVAL
        full = self._counters()[Counter.ROWS_FULL]
        if full > self._full:
            self._full = full
            self._swept += sweep(self.maps, self.maps[frame.ROWS].max_entries // _SWEPT)

    def totals(self) -> Totals:
        words = self._counters()
        counters: dict[Counter, int] = {one: int(words[one]) for one in Counter if one is not Counter.HITS}
        counters[Counter.NO_BEGIN] -= self._too_early
        counters[Counter.STALE] += self._swept
        hits = {name: int(words[Counter.HITS + number]) for name, number in self._hits.numbers.items()}
        stats = [program.stats() for one in self._attached.values() for program in one.programs]
        return Totals(
            counters,
            hits,
            self._past[0] + sum(one.run_time_ns for one in stats),
            self._past[1] + sum(one.runs for one in stats),
        )

    def _counters(self) -> list[int]:
        words = self.maps[frame.COUNTERS_MAP].lookup_sum(struct.pack("<I", 0))
        assert words is not None
        return [int(word) for word in words]

    def memory(self) -> int:
        """Bytes of memory all maps take."""
        return sum(map.memory() for map in self.maps.values()) + self.ring.memory()

    def close(self) -> None:
        for attachment in list(self._attached.values()):
            self.detach(attachment)
        for map in self.maps.values():
            map.close()
        if hasattr(self, "ring"):
            self.ring.close()


def _probes(binding: Binding) -> Iterator[BoundProbe]:
    """Ends first, so that no operation begins whose end is not watched yet; goroutine creation before all."""
    probes = [probe for operation in binding.bound for probe in operation.probes]
    order: dict[type, int] = {ir.End: 0, ir.Annotate: 1, ir.Begin: 2}
    actions = [probe.action for probe in probes]
    inherited = any(isinstance(one, ir.Annotate) or (isinstance(one, ir.Begin) and one.context) for one in actions)
    if binding.spawn is not None and (inherited or binding.inherit):
        yield binding.spawn
    yield from sorted(probes, key=lambda probe: order.get(type(probe.action), 0))


def _by_place(probe: BoundProbe) -> Iterator[tuple[Place, list[BoundSite]]]:
    """Sites at which the same program can run."""
    groups: dict[tuple[object, ...], tuple[Place, list[BoundSite]]] = {}
    for site in probe.sites:
        inputs = tuple(sorted(((repr(word), repr(where)) for word, where in site.inputs.items())))
        key = (inputs, site.site.edge, site.site.sp_offset)
        place = Place(site.inputs, site.site.edge, site.site.sp_offset)
        groups.setdefault(key, (place, []))[1].append(site)
    yield from groups.values()
