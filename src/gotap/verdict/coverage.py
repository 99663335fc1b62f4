"""What of the catalogue is in one binary: bound operations with their sites, and what was inlined away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from gotap.image.code import Cost, FunctionCode
from gotap.image.code.jumps import Fit
from gotap.image.function_code import FunctionCodes, SitesFor
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.pclntab import Pclntab
from gotap.image.image import Image
from gotap.probe.binding import Binding, BoundOperation, bind
from gotap.probe.catalogue import Library, Operation, Place, Runtime
from gotap.probe.fitting import offsets_of
from gotap.probe.places import BoundSite
from gotap.probe.sources import types_of
from gotap.verdict.model import Coverage, JumpCoverage, OperationCoverage, SiteCoverage

#: What fits at places of a binary, by their file offsets.
Fits = Callable[[Iterable[int]], Mapping[int, Fit]]

#: Callers that a line names.
_NAMED = 3


def coverage_of(
    image: Image, libraries: Sequence[Library], runtime: Runtime, fits: Fits, codes: FunctionCodes
) -> Coverage:
    """Binds the catalogue to the binary, for uprobes and for jumps: `fits` tells where these go, by the same `codes`.

    Raises what `bind` and the image raise when its tables cannot be used.
    """
    if not any(is_present(image.pclntab, one) for library in libraries for one in library.operations):
        return absent(libraries)
    types = types_of(image, runtime)
    binding = bind(image, types, libraries, runtime, codes=codes)
    jumping = bind(image, types, libraries, runtime, SitesFor.LIVE_JUMPS, codes)
    fit = fits(offsets_of(jumping))
    return Coverage(
        operations=tuple(
            _covered(image, one, _jumps(other, fit), _why_not_hooked(other, fit))
            for one, other in zip(binding.operations, jumping.operations, strict=True)
        ),
        unwatched=() if binding.spawn else tuple((one.part, one.reason) for one in binding.missing[:1]),
        unhooked=tuple(_parts_not_hooked(jumping, fit)) if binding.spawn else (),
        versions={one.name: version for one in libraries if (version := _version(image, one.name))},
    )


def _parts_not_hooked(jumping: Binding, fit: Mapping[int, Fit]) -> Iterator[tuple[str, str]]:
    if jumping.spawn is None:
        yield from ((one.part, one.reason) for one in jumping.missing[:1])
    elif why := _unhooked(jumping.spawn.sites, fit):
        yield "goroutine creation", why


def _jumps(bound: BoundOperation, fit: Mapping[int, Fit]) -> Iterator[JumpCoverage]:
    for probe in bound.probes:
        for one in probe.sites:
            found = fit[one.file_offset]
            yield JumpCoverage(one.site.address, _cost(one.site.cost), probe.name, found.springboard and found.live,
                               _hooks(found), found.reason)  # fmt: skip


def _hooks(fit: Fit) -> bool:
    return fit.hook and fit.live


def _why_not_hooked(bound: BoundOperation, fit: Mapping[int, Fit]) -> str:
    """Empty: hooks can watch it, for which all its sites must take one."""
    if bound.output is None:
        return _why_unbound(bound)
    return next((why for probe in bound.probes if (why := _unhooked(probe.sites, fit))), "")


def _unhooked(sites: Iterable[BoundSite], fit: Mapping[int, Fit]) -> str:
    return next((f"{one.function} cannot be hooked: {found.reason}" for one in sites
                 if not _hooks(found := fit[one.file_offset])), "")  # fmt: skip


def _cost(cost: Cost) -> str:
    return cost.name.lower().replace("_", "-")


def _why_unbound(bound: BoundOperation) -> str:
    return bound.missing[0].reason if bound.missing else "nothing begins it"


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


def _covered(
    image: Image, bound: BoundOperation, jumps: Iterable[JumpCoverage], unhooked: str
) -> OperationCoverage:
    operation = bound.operation
    present = is_present(image.pclntab, operation)
    return OperationCoverage(
        library=bound.library,
        name=operation.name,
        present=present,
        sites=tuple(
            SiteCoverage(site.site.address, _cost(site.site.cost), probe.name, site.site.edge is not None)
            for probe in bound.probes for site in probe.sites
        ),
        reason=_why_unbound(bound) if bound.output is None else "",
        inlined=dict(_inlined(image, operation)) if present else {},
        left_out=tuple((one.part, one.reason) for one in bound.missing),
        jumps=tuple(jumps),
        unhooked=unhooked,
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
