"""What a woven program tells of itself, and what is left to the live mechanisms. Pure.

An operation that is woven into one package is the program's altogether, also where the catalogue has it begin in
others: a begin there may be the same operation, which only the mechanism that saw the outer one would know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from gotap.image.facts.model import WovenOperation
from gotap.verdict.model import Coverage, OperationCoverage

if TYPE_CHECKING:
    from gotap.probe.catalogue import Library


def is_inert(environment: Mapping[str, str]) -> bool:
    """Whether a woven program with these variables tells nothing (gotaprt/environment.go, configure)."""
    told = {name: value.strip() for name, value in environment.items() if name.startswith("OTEL_")}
    if told.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return True
    return all(told.get(f"OTEL_{signal}_EXPORTER") == "none" for signal in ("TRACES", "METRICS"))


def packages(woven: Iterable[WovenOperation]) -> dict[str, tuple[str, ...]]:
    """Operation → the packages that it is woven into."""
    found: dict[str, tuple[str, ...]] = {}
    for one in woven:
        found[one.operation] = (*found.get(one.operation, ()), one.package)
    return found


def left_to_gotap(coverage: Coverage, woven: Iterable[WovenOperation]) -> Coverage:
    """The coverage in which operations that are woven in have no sites, and say so."""
    into = packages(woven)
    if not into:
        return coverage
    return replace(coverage, operations=tuple(_left(one, into.get(one.name, ())) for one in coverage.operations))


def _left(one: OperationCoverage, into: tuple[str, ...]) -> OperationCoverage:
    if not into:
        return one
    reason = f"woven into {' and '.join(into)}: the program tells of it itself"
    return OperationCoverage(library=one.library, name=one.name, present=True, reason=reason, woven=into)


def libraries_left(libraries: Sequence[Library], woven: Iterable[WovenOperation]) -> Sequence[Library]:
    """The catalogue without the operations that are woven in."""
    into = packages(woven)
    if not into:
        return libraries
    return tuple(
        replace(one, operations=tuple(each for each in one.operations if each.name not in into)) for one in libraries
    )
