"""What is bound, less what a mechanism cannot reach: places that take no jump. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from gotap.errors import GotapError
from gotap.probe.binding import Binding, BoundOperation, Missing
from gotap.probe.places import BoundSite
from gotap.probe.script.bound import BoundRoutine, BoundScript

#: File offset of a site → why it cannot be reached.
Refused = Mapping[int, str]

#: How many names a message holds.
_NAMED = 3


class NothingFits(GotapError):
    """None of the places can be reached by the mechanism that was asked for."""


def offsets_of(bound: Binding | BoundScript) -> list[int]:
    """File offsets of all sites, each once."""
    if isinstance(bound, BoundScript):
        sites = [site for routine in bound.routines for site, _ in routine.sites]
    else:
        spawn = () if bound.spawn is None else bound.spawn.sites
        sites = [*spawn, *(site for one in bound.bound for probe in one.probes for site in probe.sites)]
    return list(dict.fromkeys(site.file_offset for site in sites))


def without_operations(binding: Binding, refused: Refused) -> Binding:
    """The operations all of whose sites can be reached. Raises NothingFits."""
    operations = [_checked(one, refused) for one in binding.operations]
    spawn, missing = binding.spawn, binding.missing
    if spawn is not None and (why := _first(spawn.sites, refused)):
        spawn, missing = None, [*missing, Missing("goroutines", why)]
    left = replace(binding, operations=operations, spawn=spawn, missing=missing)
    if binding.bound and not left.bound:
        raise NothingFits(f"no operation can be hooked: {operations[0].missing[-1].reason}", _REMEDY)
    return left


def _checked(operation: BoundOperation, refused: Refused) -> BoundOperation:
    """The operation, not bound when one of its sites cannot be reached: it could not be seen to begin or to end."""
    if operation.output is None:
        return operation
    for probe in operation.probes:
        if why := _first(probe.sites, refused):
            return BoundOperation(operation.operation, operation.library,
                                  missing=[*operation.missing, Missing(probe.name, why)])  # fmt: skip
    return operation


def _first(sites: Iterable[BoundSite], refused: Refused) -> str:
    return next((f"{one.function} cannot be hooked: {refused[one.file_offset]}" for one in sites
                 if one.file_offset in refused), "")  # fmt: skip


def without_functions(script: BoundScript, refused: Refused) -> BoundScript:
    """A script without those functions of its probes that have a place which cannot be reached; says so in `notices`.

    Raises NothingFits when nothing is left of a probe, or what the script needs besides cannot be reached.
    """
    gone: dict[tuple[int, str], str] = {}  # probe, function → why
    for routine in script.routines:
        for site, _ in routine.sites:
            if site.file_offset in refused:
                gone.setdefault((routine.number, site.function), refused[site.file_offset])
    if not gone:
        return script
    needed = [f"{function}, since {why}" for (number, function), why in gone.items() if not number]
    if needed:
        raise NothingFits(f"cannot be hooked, and calls could not be followed without it: {needed[0]}", _REMEDY)
    names = {routine.number: routine.probe for routine in script.routines}
    routines = [left for routine in script.routines if (left := _less(routine, gone)) is not None]
    kept = {routine.number for routine in routines}
    for number in sorted({number for number, _ in gone} - kept):
        function, why = next((function, why) for (of, function), why in gone.items() if of == number)
        raise NothingFits(f"{names[number]}: {function} cannot be hooked: {why}", _REMEDY)
    return replace(script, routines=routines, notices=[*script.notices, *_told(gone, names)])


def _less(routine: BoundRoutine, gone: Mapping[tuple[int, str], str]) -> BoundRoutine | None:
    sites = tuple(one for one in routine.sites if (routine.number, one[0].function) not in gone)
    if routine.sites and not sites:
        return None
    return routine if len(sites) == len(routine.sites) else replace(routine, sites=sites)


def _told(gone: Mapping[tuple[int, str], str], names: Mapping[int, str]) -> Iterator[str]:
    for number, name in names.items():
        functions = {function: why for (of, function), why in gone.items() if of == number}
        if functions:
            more = f" and {len(functions) - _NAMED} more" if len(functions) > _NAMED else ""
            first = next(iter(functions.values()))
            yield f"{name}: skipped {', '.join(list(functions)[:_NAMED])}{more}, which cannot be hooked: {first}"


_REMEDY = "--via springboard or --via uprobe can reach it"
