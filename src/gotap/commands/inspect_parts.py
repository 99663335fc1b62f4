"""Lists that `gotap inspect` gives when asked: functions, inlined copies, modules, libraries of the catalogue."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator

from msgspec import UNSET

from gotap.commands.inspect_json import (
    FunctionDocument,
    InlinedDocument,
    ModuleDocument,
    Parts,
    ReplacementDocument,
    SiteDocument,
    libraries,
    sites,
)
from gotap.commands.inspect_text import counted_costs
from gotap.commands.judging import Judged
from gotap.errors import GotapError
from gotap.image.containers.container import Container, open_container
from gotap.image.facts.buildinfo import Module, read_build_info
from gotap.image.functions.tables import GoTables, read_tables
from gotap.verdict.model import Coverage, OperationCoverage


class NoTable(GotapError):
    """The target has no function table, or none that can be read."""


def wanted(options: argparse.Namespace) -> bool:
    return bool(options.functions or options.inlined or options.modules or options.libraries)


def lists(judged: Judged, options: argparse.Namespace) -> Parts:
    """What was asked for. Raises NoTable, ImageError."""
    if not judged.path or not wanted(options):
        return Parts()
    if not (options.functions or options.inlined or options.modules):
        return Parts(sites=_all_sites(judged))
    container = open_container(judged.path, judged.situation.file if judged.situation else judged.target)
    parts = Parts(
        functions=functions(_tables(container), options.functions) if options.functions else UNSET,
        inlined=inlined(_tables(container), options.inlined) if options.inlined else UNSET,
        modules=modules(container) if options.modules else UNSET,
        sites=_all_sites(judged) if options.libraries else UNSET,
    )
    container.check_unchanged()
    return parts


def lines(judged: Judged, options: argparse.Namespace) -> Iterator[str]:
    """The same for a person, one entry a line."""
    parts = lists(judged, options)
    for function in parts.functions or ():
        place = f"  {function.file}:{function.line}" if function.file else ""
        yield f"  {function.address:#x} {function.size:>7}  {function.name}{place}"
    for call in parts.inlined or ():
        code = ", ".join(f"+{start:#x}…+{end:#x}" for start, end in call.ranges)
        yield f"  {call.address:#x}  {call.function} into {call.caller} {code}"
    if parts.functions == []:
        yield f"  no function's name holds or matches {options.functions}"
    if parts.inlined == []:
        yield f"  no call of a function {options.inlined} was inlined"
    for module in parts.modules or ():
        yield f"  {module.kind:<4}  {module.path} {module.version}  {module.sum}".rstrip()
        if module.replace:
            yield f"        => {module.replace.path} {module.replace.version}".rstrip()
    if options.libraries and judged.situation is not None:
        yield from _libraries(judged.situation.coverage, options.verbose)


def _all_sites(judged: Judged) -> list[SiteDocument]:
    coverage = judged.situation.coverage if judged.situation else None
    return [one for operation in (coverage.operations if coverage else ()) for one in sites(operation)]


def matcher(pattern: str) -> Callable[[str], bool]:
    """A name matches when it holds the pattern as it stands, or when the pattern is a regular expression found in it:
    Go's names are full of brackets, dots and stars."""
    try:
        expression = re.compile(pattern)
    except re.error:
        return lambda name: pattern in name
    return lambda name: pattern in name or expression.search(name) is not None


def functions(tables: GoTables, pattern: str) -> list[FunctionDocument]:
    matches, table = matcher(pattern), tables.pclntab
    found = (table.function(index) for index, name in enumerate(tables.names) if matches(name))
    return [FunctionDocument(one.name, one.address, one.size, one.file or None, one.line or None) for one in found]


def inlined(tables: GoTables, name: str) -> list[InlinedDocument]:
    """Every place where calls of that function were inlined."""
    return [
        InlinedDocument(
            one.name,
            one.function.name,
            one.ranges[0][0],
            [(start - one.function.address, end - one.function.address) for start, end in one.ranges],
        )
        for one in tables.pclntab.where_inlined(name)
    ]


def modules(container: Container) -> list[ModuleDocument]:
    """The main module first; nothing when the build info was removed."""
    info = read_build_info(container)
    if info is None:
        return []
    main = [("mod", info.main)] if info.main else []
    return [_module(kind, one) for kind, one in [*main, *(("dep", one) for one in info.deps)]]


def _module(kind: str, one: Module) -> ModuleDocument:
    replaced = ReplacementDocument(one.replace.path, one.replace.version) if one.replace else None
    return ModuleDocument(kind, one.path, one.version, one.sum, replaced)


def _tables(container: Container) -> GoTables:
    tables = read_tables(container)
    if tables is None:
        raise NoTable(f"{container.name} has no Go function table that can be read", "name a program built by `go`")
    return tables


# -- libraries ----------------------------------------------------------------------------------------------------


def _libraries(coverage: Coverage | None, verbose: bool) -> Iterator[str]:
    if coverage is None:
        yield "  no library was looked for in it"
        return
    if coverage.refused:
        yield f"  {coverage.refused}"
    held = {one.name: one.version for one in libraries(coverage)}
    for one in coverage.operations:
        version = held.get(one.library)
        name = f"{one.library}{f' {version}' if version else ''} {one.name}"
        yield f"  {_mark(one)}  {name}: {_sites(one) if one.sites else one.reason}"
        yield from (f"        inlined: {name} {where}" for name, where in one.inlined.items())
        if verbose:
            yield from _details(one)
    yield from (f"  ~~  {part}: {reason}" for part, reason in coverage.unwatched)


def _mark(one: OperationCoverage) -> str:
    return "--" if one.woven else "no" if not one.sites else "~~" if one.inlined else "ok"


def _sites(one: OperationCoverage) -> str:
    return f"{len(one.sites)} sites: {counted_costs([one])}; {_jumps(one)}"


def _jumps(one: OperationCoverage) -> str:
    """Of the same operation by jumps, which may stand at other places."""
    taken = sum(jump.springboard for jump in one.jumps)
    told = f"{len(one.jumps)} for jumps" if taken == len(one.jumps) else f"{taken} of {len(one.jumps)} take jumps"
    return f"{told}, no hook: {one.unhooked}" if one.unhooked else told


def _details(one: OperationCoverage) -> Iterator[str]:
    """Every site with what can be there; of springboards and hooks only where both do not fit, why."""
    for site in sites(one):
        ways = [f"{site.uprobe}{' (one direction of a jump)' if site.edge else ''}"] if site.uprobe else []
        ways += [name for name, fits in (("springboard", site.springboard), ("hook", site.hook)) if fits]
        reason = f" ({site.reason})" if site.reason else ""
        yield f"        {site.address:#x} {', '.join(ways)}{reason}: {site.probe}"
    for part, reason in one.left_out:
        yield f"        not bound: {part}: {reason}"
