"""What of the catalogue is in one binary: bound operations with their sites, and what was inlined away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gotap.image.code import FunctionCode
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.pclntab import Pclntab
from gotap.image.image import Image
from gotap.probe.binding import BoundOperation, bind
from gotap.probe.catalogue import Library, Operation, Place, Runtime
from gotap.probe.sources import types_of
from gotap.verdict.model import Coverage, OperationCoverage, SiteCoverage

#: Callers that a line names.
_NAMED = 3


def coverage_of(image: Image, libraries: Sequence[Library], runtime: Runtime) -> Coverage:
    """Binds the catalogue to the binary. Raises what `bind` and the image raise when its tables cannot be used."""
    if not any(is_present(image.pclntab, one) for library in libraries for one in library.operations):
        return absent(libraries)
    binding = bind(image, types_of(image, runtime), libraries, runtime)
    unwatched = [] if binding.spawn else [(one.part, one.reason) for one in binding.missing[:1]]
    return Coverage(
        operations=tuple(_covered(image, one) for one in binding.operations),
        unwatched=tuple(unwatched),
        versions={one.name: version for one in libraries if (version := _version(image, one.name))},
    )


def absent(libraries: Sequence[Library]) -> Coverage:
    """Of a binary that holds none of the libraries."""
    return Coverage(
        operations=tuple(
            OperationCoverage(
                library=library.name, name=one.name, present=False, reason=_missing(one.begins[0].place.function.symbol)
            )
            for library in libraries
            for one in library.operations
        )
    )


def is_present(table: Pclntab, operation: Operation) -> bool:
    """Whether the binary holds a function that begins the operation, be it as an inlined copy only."""
    symbols = {one.place.function.symbol for one in operation.begins}
    return any(table.name_offsets_of(symbol.removesuffix("*"), symbol.endswith("*")) for symbol in symbols)


def _version(image: Image, library: str) -> str:
    """Of the standard library Go's own, else of the module that holds the package; empty when it is not told."""
    if "." not in library.partition("/")[0]:
        return image.go_version.number
    info = image.build_info
    holding = [one for one in (info.deps if info else ()) if f"{library}/".startswith(f"{one.path}/")]
    return max(holding, key=lambda one: len(one.path)).version if holding else ""


def _covered(image: Image, bound: BoundOperation) -> OperationCoverage:
    operation = bound.operation
    present = is_present(image.pclntab, operation)
    reason = ""
    if bound.output is None:
        reason = bound.missing[0].reason if bound.missing else "nothing begins it"
    return OperationCoverage(
        library=bound.library,
        name=operation.name,
        present=present,
        sites=tuple(
            SiteCoverage(site.site.address, site.site.cost.name.lower().replace("_", "-"), probe.name,
                         site.site.edge is not None)
            for probe in bound.probes for site in probe.sites
        ),
        reason=reason,
        inlined=dict(_inlined(image, operation)) if present else {},
        left_out=tuple((one.part, one.reason) for one in bound.missing),
    )  # fmt: skip


def _inlined(image: Image, operation: Operation) -> Iterator[tuple[str, str]]:
    """Functions whose copies in other functions no probe sees.

    A copy that itself calls a function which the operation watches is seen there: the catalogue names the outer and
    the inner one because they are inlined in some versions.
    """
    table = image.pclntab
    watched = {one.symbol for place in _places(operation) for one in (place.callee or place.function,)}
    for place in _places(operation):
        symbol = (place.callee or place.function).symbol
        if symbol.endswith("*") or place.function.symbol.endswith("*"):
            continue
        copies = table.where_inlined(symbol)
        if place.callee is not None:  # calls in copies of the place are found; a copy of what it should call is no call
            copies = [one for one in copies if one.caller == place.function.symbol]
        targets = {one.address for name in watched - {symbol} for one in table.find_all(name)}
        callers = [one.caller for one in copies if not _calls(image, one, targets)]
        if callers:
            only = place.callee is None and table.find(symbol) is None
            yield symbol, f"{'only' if only else 'also'} as {_copies(callers)}"


def _calls(image: Image, copy: InlinedCall, targets: set[int]) -> bool:
    """Whether the inlined code calls one of the functions."""
    code = FunctionCode(image.code(copy.function), copy.function.address)
    return any(start <= site.address < end for site in code.call_sites(targets) for start, end in copy.ranges)


def _places(operation: Operation) -> Iterator[Place]:
    yield from (one.place for one in operation.begins)
    yield from (one.place for one in operation.annotations)
    yield from (one.place for one in operation.ends)


def _copies(callers: list[str]) -> str:
    names = list(dict.fromkeys(callers))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(callers)} {'copy' if len(callers) == 1 else 'copies'} in {', '.join(names[:_NAMED])}{more}"


def _missing(symbol: str) -> str:
    return f"{symbol} is not in this binary"
