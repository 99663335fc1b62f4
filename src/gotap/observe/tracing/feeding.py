"""Which probes of a script store into which maps, and which maps it clears: found in the statements of its routines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gotap.probe.script.bound import BoundRoutine, BoundScript
from gotap.probe.script.routine import (
    Branch,
    ClearMap,
    Enter,
    Leave,
    Loop,
    Statement,
    Store,
    Tally,
    Unwind,
    Watch,
)


def cleared_maps(script: BoundScript) -> frozenset[int]:
    """Numbers of the maps that any probe clears."""
    return frozenset(each.map for _, each in _everything(script) if isinstance(each, ClearMap))


def feeding_probes(script: BoundScript) -> dict[int, frozenset[int]]:
    """By number of a map: the numbers of the probes that store into it."""
    found: dict[int, set[int]] = {}
    for probe, each in _everything(script):
        if isinstance(each, Store | Tally):
            found.setdefault(each.map, set()).add(probe)
    return {number: frozenset(probes) for number, probes in found.items()}


def _everything(script: BoundScript) -> Iterator[tuple[int, Statement]]:
    """All statements, each with the number of its probe."""
    entered = {one.routine.layout.operation_id: one.number for one in script.routines if isinstance(one.routine, Enter)}
    for one in script.routines:
        for number, body in _bodies(one, entered):
            for statement in _with_inner(body):
                yield number, statement


def _bodies(bound: BoundRoutine, entered: dict[int, int]) -> Iterator[tuple[int, Sequence[Statement]]]:
    """`entered`: by layout the probe whose calls it is of. What ends calls that were unwound has no number itself."""
    match bound.routine:
        case Watch(_, _, body) | Leave(_, _, body):
            yield bound.number, body
        case Unwind(_, _, _, calls):
            for call in calls:
                yield entered.get(call.layout.operation_id, bound.number), call.body


def _with_inner(statements: Sequence[Statement]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        match statement:
            case Branch(_, then, otherwise):
                yield from _with_inner((*then, *otherwise))
            case Loop(_, _, _, body):
                yield from _with_inner(body)
