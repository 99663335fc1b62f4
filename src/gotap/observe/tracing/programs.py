"""The programs of a script: one for all sites of a routine at which the same instructions do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from gotap.bpf.codegen.target import Place
from gotap.bpf.enums import ProgramType
from gotap.bpf.machine import Program, Site
from gotap.image.code import Cost
from gotap.probe.places import BoundSite
from gotap.probe.script.bound import BoundRoutine, Origin
from gotap.probe.script.routine import Enter, Forget, Leave, Unwind, Watch

#: What goes in first: a call that begins must find its end watched, and what unwinds it. At one instruction, what went
#: in last runs first (kernel/events/uprobes.c, consumer_add, up to Linux 6.18): variables are needed until open calls
#: have ended.
_ORDER: dict[type, int] = {Forget: 0, Unwind: 1, Leave: 2, Watch: 3, Enter: 4}

_ANYWHERE = Place({}, None, None)
_FIRST_INSTRUCTION = Place({}, None, 0)  # the return address is where SP points to


_TYPES = {
    "begin": ProgramType.RAW_TRACEPOINT,
    "end": ProgramType.RAW_TRACEPOINT,
    "interval": ProgramType.RAW_TRACEPOINT,
    "profile": ProgramType.PERF_EVENT,
    "tracepoint": ProgramType.TRACEPOINT,
    "syscall": ProgramType.TRACEPOINT,
    "uprobe": ProgramType.KPROBE,
}


class Part(Struct, frozen=True):
    """A routine at places where one program can run: (file offset, cookie) of each, none where it has an origin."""

    routine: BoundRoutine
    place: Place
    sites: tuple[Site, ...] = ()
    cost: Cost = Cost.EMULATED  # the dearest of the sites'


class Loaded(Struct, frozen=True):
    part: Part
    program: Program


def program_type(origin: Origin | None) -> ProgramType:
    """None: the routine runs at sites of the target."""
    return ProgramType.KPROBE if origin is None else _TYPES[origin.kind]


def parts_of(routines: Iterable[BoundRoutine]) -> list[Part]:
    """In the order of attaching."""
    parts: list[Part] = []
    for routine in sorted(routines, key=_place_in_order):
        if routine.origin is None:
            parts.extend(_by_place(routine))
        else:
            begins = routine.origin.kind == "uprobe" and not routine.origin.returns
            parts.append(Part(routine, _FIRST_INSTRUCTION if begins else _ANYWHERE))
    return parts


def _place_in_order(routine: BoundRoutine) -> tuple[int, int]:
    """Of probes at one instruction the script's first one is to run first, so it goes in last."""
    breakpoints = routine.origin is None or routine.origin.kind == "uprobe"
    return _ORDER[type(routine.routine)], -routine.number if breakpoints else routine.number


def _by_place(routine: BoundRoutine) -> Iterator[Part]:
    groups: dict[object, tuple[Place, list[tuple[BoundSite, int]]]] = {}
    inputs: dict[int, frozenset[object]] = {}  # thousands of sites share a mapping
    for site, cookie in routine.sites:
        known = inputs.get(id(site.inputs))
        if known is None:
            known = inputs[id(site.inputs)] = frozenset(site.inputs.items())
        place = (known, site.site.edge, site.site.sp_offset)
        group = groups.get(place)
        if group is None:
            group = groups[place] = Place(site.inputs, site.site.edge, site.site.sp_offset), []
        group[1].append((site, cookie))
    for place_, sites in groups.values():
        offsets = tuple((site.file_offset, cookie) for site, cookie in sites)
        yield Part(routine, place_, offsets, max(site.site.cost for site, _ in sites))
