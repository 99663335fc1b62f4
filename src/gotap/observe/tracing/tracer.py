"""A script at work: its maps, its programs, where they are attached, the events that come out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from gotap.bpf.code import Code
from gotap.bpf.codegen.script.routines import generate_routine, generate_unwinder
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.setting import ScriptSetting, script_setting
from gotap.bpf.codegen.target import Target
from gotap.bpf.enums import ProgramType
from gotap.bpf.machine import Attachable, Executable, HasFeatures, Link, Machine, Map, Meanwhile, Source
from gotap.observe.scriptmaps import ScriptMaps
from gotap.observe.tracing.feeding import cleared_maps, feeding_probes
from gotap.observe.tracing.maps import RING_SIZE, WorkMaps, frame_slots
from gotap.observe.tracing.programs import Loaded, Part, parts_of, program_type
from gotap.observe.tracing.sampling import Sampling
from gotap.probe.script.bound import BoundRoutine, BoundScript, Origin
from gotap.probe.script.record import EVENT
from gotap.probe.script.routine import Enter, Forget, Leave, Routine, Unwind, Watch
from gotap.process.proc import in_initial_pid_namespace

#: Routines that the tracer runs itself.
_ON_DEMAND = ("begin", "end", "interval")
#: Those that fire in all processes, whatever they are attached for.
_EVERYWHERE = ("profile", "tracepoint", "syscall")


class ProbeCounts(Struct, frozen=True):
    """What was counted for a probe, as the user wrote it. `runs` and `run_time` (ns): of its programs, 0 where the
    kernel does not measure them. `detached`: it was dropped after so many seconds; None: it was not.
    """

    probe: str
    number: int
    counts: dict[Counter, int]
    runs: int = 0
    run_time: int = 0
    detached: float | None = None


class OpenServers(Struct, frozen=True):
    """Where `traceid` and `spanid` are found: the maps of a gotap.observe.watch.Watcher that watches net/http's server
    operation in the same process, and the number that the process has there.
    """

    maps: Mapping[str, Map]
    number: int
    scoping: int | None


class _Dropped(Struct, frozen=True):
    """A probe that is gone for good, after so many seconds. `stale`: as counted then; what was open is no loss."""

    after: float
    stale: int


class _Timer(Struct):
    loaded: Loaded
    period: float
    due: float


class Tracer:
    """Runs one script, on one process at a time or on none. Closing it leaves nothing behind.

    Everything that is counted and aggregated outlives the process it came from: the script can be attached again.
    """

    def __init__(self, machine: Machine, script: BoundScript, *, thinning: bool = False,
                 ring_size: int = RING_SIZE, servers: OpenServers | None = None) -> None:
        """Makes the maps; nothing runs yet. `thinning`: firings can be thinned later. Raises MapError and the like."""
        self.machine = machine
        self.script = script
        self.names = {one.number: one.probe for one in script.routines}
        self.servers = servers
        self._number = 0
        self._parts = parts_of(script.routines)
        self._loaded: list[Loaded] = []
        self._links: dict[int, Link] = {}  # by index of _loaded
        self._timers: list[_Timer] = []
        self._past: dict[int, tuple[int, int]] = {}  # by probe: runs and run time of programs that are gone
        self._late: dict[int, int] = {}  # by probe: returns of calls whose entries were not, or no longer, probed
        self._begun = False
        self._begun_at = 0.0
        self._dropped: dict[int, _Dropped] = {}  # by probe
        self.setting = _setting(script, machine, thinning, servers)
        with contextlib.ExitStack() as undo:
            probes = max(self.names, default=0) + 1
            grows = _grows(script, machine.features)
            calls = any(isinstance(one.routine, Enter | Leave | Unwind) for one in script.routines)
            self.work = WorkMaps(machine, self.setting, probes, len(self._parts), grows=grows, calls=calls,
                                 ring_size=ring_size)  # fmt: skip
            undo.callback(self.work.close)
            if script.shapes is not None:
                self.work.add_shapes(script.shapes)
            self.maps = ScriptMaps(machine, script.maps, grows=grows, cleared=cleared_maps(script))
            self.sampling = Sampling(feeding_probes(script), self.maps.epoch)
            self._undo = undo.pop_all()
            self._undo.callback(self.maps.close)
        self.ring = self.work.ring

    # -- attaching ----------------------------------------------------------------------------------------------------

    def attach(self, executable: Executable | None, meanwhile: Meanwhile = None) -> int:
        """Runs `begin` (the first time), then puts all probes in place, ends before begins; returns how many sites.

        All or nothing. `meanwhile` is called again and again while programs are loaded. Raises the
        machine's errors: VerifierError, AttachError, NoTracepoint …
        """
        self.load(executable, meanwhile)
        try:
            if not self._begun:
                self._begun, self._begun_at = True, time.monotonic()
                self._run("begin")
            before = self._unpaired()
            wanted = [
                Attachable(one.program, one.part.sites, one.part.routine.origin,
                           begins=isinstance(one.part.routine.routine, Enter | Watch))
                for one in self._loaded
            ]  # fmt: skip
            user_only = self.script.goid is not None
            self._links = dict(enumerate(self.machine.attach(executable, wanted, user_only=user_only)))
            self._set_aside(before)  # of short calls hundreds return until entries are probed as well
        except BaseException:
            self.detach()
            raise
        now = time.monotonic()
        periods = ((one, origin.nanoseconds / 1e9) for one in self._loaded
                   if (origin := one.part.routine.origin) is not None and origin.kind == "interval")  # fmt: skip
        self._timers = [_Timer(one, period, now + period) for one, period in periods]
        return sum(link.sites for link in self._links.values())

    def load(self, executable: Executable | None, meanwhile: Meanwhile = None) -> None:
        """The first half of `attach`: programs are in the kernel and run nowhere."""
        if self._number:
            self.work.forget_calls()  # of the process before
        self._number = self.servers.number if self.servers is not None else self._number + 1
        sources = (self._source(part, self._code(part, number, executable)) for number, part in enumerate(self._parts))
        programs = self.machine.load(sources, meanwhile)
        self._loaded = [Loaded(part, program) for part, program in zip(self._parts, programs, strict=True)]
        if self.setting.unwinder:
            try:
                self._load_unwinder(executable)
            except BaseException:
                self.detach()
                raise

    def _code(self, part: Part, number: int, executable: Executable | None) -> Code:
        bound, origin = part.routine, part.routine.origin
        target = _target(self.script, executable, self._number, origin, self.machine)
        site = origin.cookie if origin is not None else None
        registers = program_type(origin) in (ProgramType.KPROBE, ProgramType.PERF_EVENT)
        setting = replace(self.setting, stops=False) if _is_end(bound) else self.setting
        return generate_routine(bound.routine, part.place, target, setting, bound.number, site,
                                registers=registers, program=number)  # fmt: skip

    def _load_unwinder(self, executable: Executable | None) -> None:
        """What ends the calls of which a program finds that they are over, and the way back to that program."""
        target = _target(self.script, executable, self._number, None, self.machine)
        code = generate_unwinder((part.routine.routine for part in self._parts), target, self.setting)
        if code is not None:
            (unwinder,) = self.machine.load([Source(code, self._maps(ProgramType.KPROBE))])
            self.work.set_unwinder(0, unwinder)  # which keeps it
            unwinder.close()
        for number, loaded in enumerate(self._loaded):
            if isinstance(loaded.part.routine.routine, Enter | Leave | Unwind):
                self.work.set_unwinder(1 + number, loaded.program)

    def _source(self, part: Part, code: Code) -> Source:
        kind = program_type(part.routine.origin)
        return Source(code, self._maps(kind), kind)

    def _maps(self, kind: ProgramType) -> dict[str, Map]:
        """What programs of this type refer to."""
        servers = {} if self.servers is None else self.servers.maps
        return {**servers, **self.work.by_name(kind), **self.maps.by_name}

    def detach(self, meanwhile: Meanwhile = None) -> None:
        """Takes all probes out, begins before ends; the target's code is as it was when this returns.

        `meanwhile` should take events, which still come while probes go. Also when the target has ended.
        """
        # One group after the other, though each waits for grace periods: within one, who is first is left to chance.
        ends = {index for index in self._links if isinstance(self._routine(index), Leave | Unwind | Forget)}
        before = self._unpaired()
        for group in (sorted(self._links.keys() - ends), sorted(ends)):
            self.machine.detach([self._links.pop(index) for index in reversed(group)], meanwhile)
        self._set_aside(before)
        self._timers.clear()
        for loaded in self._loaded:
            number = loaded.part.routine.number
            runs, run_time = self._past.get(number, (0, 0))
            stats = loaded.program.stats()
            self._past[number] = runs + stats.runs, run_time + stats.run_time_ns
            if not _is_end(loaded.part.routine):
                loaded.program.close()
        self._loaded = [one for one in self._loaded if _is_end(one.part.routine)]

    def _set_aside(self, before: dict[int, int]) -> None:
        """Returns without a call since then tell nothing, of the probes that are named."""
        now = self._unpaired()
        for number, count in before.items():
            self._late[number] = self._late.get(number, 0) + now[number] - count

    def _unpaired(self) -> dict[int, int]:
        """Returns without a call, by probe."""
        return {number: self.work.counts(number)[Counter.UNPAIRED] for number in self.names}

    def _routine(self, index: int) -> Routine:
        return self._loaded[index].part.routine.routine

    def drop(self, number: int) -> None:
        """Takes one probe out for good: it has become too dear. What others need to end their calls stays."""
        gone = [index for index, one in enumerate(self._loaded)
                if one.part.routine.number == number and not _ends_others(one.part.routine)]
        counts = self.work.counts(number)
        self.machine.detach([self._links.pop(index) for index in reversed(gone) if index in self._links])
        if not any(isinstance(self._routine(index), Enter) for index in self._links):  # no calls to end any more
            over = [index for index in self._links if isinstance(self._routine(index), Unwind)]
            self.machine.detach([self._links.pop(index) for index in over])
        self._set_aside({number: counts[Counter.UNPAIRED]})
        self._dropped[number] = _Dropped(time.monotonic() - self._begun_at, counts[Counter.STALE])
        self._timers = [timer for timer in self._timers if timer.loaded.part.routine.number != number]
        self._parts = [one for one in self._parts if one.routine.number != number or _ends_others(one.routine)]

    def is_dropped(self, number: int) -> bool:
        return number in self._dropped

    def thin(self, number: int, factor: int) -> None:
        """From now on one firing of `factor` of this probe is taken; the tracer was made with `thinning`."""
        self.sampling.thin(number, factor, lambda: self.work.thin(number, factor))

    # -- running ------------------------------------------------------------------------------------------------------

    def _run(self, kind: str) -> None:
        for loaded in self._loaded:
            origin = loaded.part.routine.origin
            if origin is not None and origin.kind == kind:
                self.machine.run(loaded.program)

    def run_due(self, now: float) -> float | None:
        """Runs the intervals that are due at this time.monotonic(); returns when the next one is, None: there are none.

        Intervals that were missed are not made up for.
        """
        for timer in self._timers:
            if now >= timer.due:
                self.machine.run(timer.loaded.program)
                timer.due += timer.period * max(1, int((now - timer.due) / timer.period) + 1)
        return min((timer.due for timer in self._timers), default=None)

    def end(self) -> None:
        """Runs `end`; the probes should be gone by then."""
        self._run("end")

    def events(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(layout number, rows) of what has arrived: rows of one size each, EVENT.sequence says in which order.

        When this is called what was read before has been dealt with: epochs of maps that it asked for are given up.
        """
        self.maps.tidy(self.ring)
        for rows, places in self.ring.read_placed():
            head = rows[:, : EVENT.itemsize].view(EVENT)[:, 0]
            head["sequence"] = places
            layouts = head["layout"]
            if (layouts == layouts[0]).all():
                yield int(layouts[0]), rows
                continue
            for layout in sorted(set(layouts.tolist())):
                yield layout, rows[layouts == layout]

    # -- counting -----------------------------------------------------------------------------------------------------

    def counts(self) -> list[ProbeCounts]:
        """Since the start, for each of the script's probes in its order."""
        measured = dict(self._past)
        for loaded in self._loaded:
            number, stats = loaded.part.routine.number, loaded.program.stats()
            runs, run_time = measured.get(number, (0, 0))
            measured[number] = runs + stats.runs, run_time + stats.run_time_ns
        found = []
        for number, name in sorted(self.names.items()):
            words = self.work.counts(number)
            counts = {counter: words[counter] for counter in Counter}
            counts[Counter.UNPAIRED] -= self._late.get(number, 0)
            dropped = self._dropped.get(number)
            if dropped is not None:
                counts[Counter.STALE] = min(counts[Counter.STALE], dropped.stale)
            found.append(ProbeCounts(name, number, counts, *measured.get(number, (0, 0)),
                                     None if dropped is None else dropped.after))  # fmt: skip
        return found

    def loaded(self) -> Sequence[Loaded]:
        """The programs at work."""
        return self._loaded

    def memory(self) -> int:
        """Bytes of memory that all maps take."""
        return self.work.memory() + self.maps.memory()

    def close(self) -> None:
        """Detaches what is attached. What was not read is lost."""
        self.detach()
        for loaded in self._loaded:
            loaded.program.close()
        self._loaded = []
        self._undo.close()


def _grows(script: BoundScript, features: HasFeatures) -> bool:
    """Whether maps may take memory as they need it: samples of kernels before 6.1 want it from the start."""
    samples = any(one.origin is not None and one.origin.kind == "profile" for one in script.routines)
    return features.has("no_prealloc") and (not samples or features.has("clock_growing"))


def _ends_others(routine: BoundRoutine) -> bool:
    """Whether calls of other probes may need it."""
    return isinstance(routine.routine, Unwind | Forget)


def _is_end(routine: BoundRoutine) -> bool:
    return routine.origin is not None and routine.origin.kind == "end"


def _setting(script: BoundScript, machine: Machine, thinning: bool, servers: OpenServers | None) -> ScriptSetting:
    features = machine.features
    return script_setting(
        script,
        slots=frame_slots(),
        own_frames=machine.own_frames,
        has_loop=features.has("bpf_loop"),
        has_cookie=features.has("attach_cookie"),
        cpus=machine.cpus if features.has("percpu_lookup") else 0,
        unwinder=any(isinstance(one.routine, Unwind) and one.routine.calls for one in script.routines),
        thinning=thinning,
        traces=servers is not None,
        scoping=None if servers is None else servers.scoping,
        pid_namespace=None if in_initial_pid_namespace() else _own_pid_namespace(),
    )


def _own_pid_namespace() -> tuple[int, int]:
    """Device and inode, by which bpf_get_ns_current_pid_tgid knows it."""
    namespace = os.stat("/proc/self/ns/pid")
    return namespace.st_dev, namespace.st_ino


def _target(
    script: BoundScript, executable: Executable | None, number: int, origin: Origin | None, machine: Machine
) -> Target:
    """What a routine on demand runs in is gotap itself. Only at the target's sites do the registers tell for sure which
    goroutine runs: a sample may catch assembly that uses the register of the g for something else.
    """
    if executable is None:
        return Target(number, 0, None, 0, None, None)
    here = origin is not None and origin.kind in _ON_DEMAND
    tgid = None if here or machine.inside else executable.tgid
    goroutines = origin is None
    return Target(number, executable.pid, tgid, executable.bias, script.goid if goroutines else None,
                  script.stack_high if goroutines else None,
                  is_sought=tgid is None and origin is not None and origin.kind in _EVERYWHERE)  # fmt: skip
