"""The programs of a script: one for all sites of a routine at which the same instructions do, loaded side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct

from gotap.bpf.code import Code
from gotap.bpf.codegen.target import Place
from gotap.bpf.enums import ProgramType
from gotap.image.code import Cost
from gotap.kernel.attach import HasFeatures, Site
from gotap.kernel.bpf import Program
from gotap.kernel.pool import Pool
from gotap.kernel.tracing.origins import load_type, program_type
from gotap.probe.places import BoundSite
from gotap.probe.script.bound import BoundRoutine, Origin
from gotap.probe.script.routine import Enter, Forget, Leave, Unwind, Watch

#: Programs that are verified at once, where there are that many CPUs.
_LOADING = 4
#: Seconds between two calls of what is done meanwhile.
_MEANWHILE = 0.02

#: What goes in first: a call that begins must find its end watched, and what unwinds it. At one instruction, what went
#: in last runs first (kernel/events/uprobes.c, consumer_add, up to Linux 6.18): variables are needed until open calls
#: have ended.
_ORDER: dict[type, int] = {Forget: 0, Unwind: 1, Leave: 2, Watch: 3, Enter: 4}

_ANYWHERE = Place({}, None, None)
_FIRST_INSTRUCTION = Place({}, None, 0)  # the return address is where SP points to


class Part(Struct, frozen=True):
    """A routine at places where one program can run: (file offset, cookie) of each, none where it has an origin."""

    routine: BoundRoutine
    place: Place
    sites: tuple[Site, ...] = ()
    cost: Cost = Cost.EMULATED  # the dearest of the sites'


class Loaded(Struct, frozen=True):
    part: Part
    program: Program


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


def load_one(code: Code, descriptors: Mapping[str, int], origin: Origin | None, features: HasFeatures) -> Program:
    """`origin` None: the program is for sites of the target."""
    return Program.load(code.bytes(descriptors), program_type(origin), "gotap_trace", subprograms=code.subprograms,
                        attach_type=load_type(origin, features))  # fmt: skip


def load(
    parts: Sequence[Part],
    codes: Iterable[Code],
    descriptors: Callable[[ProgramType], Mapping[str, int]],
    features: HasFeatures,
    meanwhile: Callable[[], None] | None,
) -> list[Loaded]:
    """Loads the parts' codes, in that order, while the next ones are generated: verifying takes most of the time.

    Raises VerifierError and the like; then none stays loaded.
    """
    made: list[Program] = []

    def one(part: Part, code: Code) -> Program:
        origin = part.routine.origin
        made.append(program := load_one(code, descriptors(program_type(origin)), origin, features))
        return program

    try:
        with Pool(min(_LOADING, os.cpu_count() or 1), "gotap-load") as pool:
            calls = []
            for part, code in zip(parts, codes, strict=True):
                descriptors(program_type(part.routine.origin))  # made here, not by several threads at once
                calls.append(pool.start(partial(one, part, code)))
                if meanwhile is not None:
                    meanwhile()
            if meanwhile is not None:
                for call in calls:
                    while not call.wait(_MEANWHILE):
                        meanwhile()
        return [Loaded(part, call.result()) for part, call in zip(parts, calls, strict=True)]
    except BaseException:
        for program in made:
            program.close()
        raise
