"""`gotap trace -l`: what can be probed in an executable, without a process and without root."""

from __future__ import annotations

import argparse
import fnmatch
import os
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from gotap.commands.main import OK
from gotap.commands.streams import show
from gotap.commands.trace.options import UsageError
from gotap.commands.trace.subject import the_process
from gotap.commands.trace.summary import COSTS
from gotap.errors import GotapError
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.probe.catalogue import runtime, signatures_in_catalogue
from gotap.probe.functions.matching import FunctionKind, Functions, Match
from gotap.probe.functions.model import FunctionSignature
from gotap.probe.functions.signatures import Signatures
from gotap.probe.functions.suggestions import no_such_function
from gotap.probe.places import Places
from gotap.probe.sources import types_of
from gotap.sinks.sanitize import printable

_KERNEL = ("tracepoint:", "syscall:")


class Listed(Struct, frozen=True, omit_defaults=True):
    """One function. `entry`, `returns`: what probes there cost; absent where there can be none. `copies`: inlined."""

    func: str
    kind: str
    file: str = ""
    line: int = 0
    copies: int = 0
    bodies: int = 0
    signature: str | None = None
    entry: str | None = None
    returns: tuple[str, ...] = ()


def show_listing(arguments: argparse.Namespace) -> int:
    """Prints the list. Raises GotapError when there is nothing to list."""
    pattern, positional = arguments.list, list(arguments.program)
    if pattern.startswith(_KERNEL):
        show("\n".join(kernel_probes(pattern)))
        return OK
    if arguments.pid is None and positional == [] and os.path.isfile(pattern):
        pattern, positional = "*", [pattern]  # -l FILE
    elif positional and not os.path.isfile(positional[0]) and os.path.isfile(pattern):
        pattern, positional = positional[0], [pattern]  # -l FILE PATTERN
    image = Image.open(*_file(arguments.pid, positional))
    functions = Functions(image)
    matches = functions.find(pattern)
    if not matches.functions:
        raise no_such_function(image, pattern)
    detailed = arguments.verbose or arguments.json
    lines = _json_lines if arguments.json else _lines
    show("\n".join(lines(listed(functions, matches.functions, detailed=detailed))))
    return OK


def _file(pid: str | None, positional: Sequence[str]) -> tuple[str, str]:
    """(path, name for messages) of what is listed."""
    if len(positional) > 1 or (pid is not None and positional):
        raise UsageError("-l lists one executable", "gotap trace ./server -l 'main.*'")
    if pid is not None:
        return f"/proc/{the_process(pid)}/exe", pid
    if not positional:
        raise UsageError("-l needs an executable, or a process", "gotap trace ./server -l 'main.*'")
    return positional[0], positional[0]


def kernel_probes(pattern: str) -> list[str]:
    """Tracepoints or system calls whose names match."""
    from gotap.kernel.tracing.tracefs import Tracefs

    with Tracefs() as tracefs:
        names = tracefs.tracepoints()
    entries = "syscalls:sys_enter_"
    known = [f"tracepoint:{name}" for name in names]
    known += [f"syscall:{name.removeprefix(entries)}" for name in names if name.startswith(entries)]
    found = fnmatch.filter(known, pattern if "*" in pattern else f"{pattern}*")
    if not found:
        raise UsageError(f"nothing matches `{pattern}`", "`-l 'tracepoint:*'` lists all tracepoints of this kernel")
    return found


def listed(functions: Functions, matches: Sequence[Match], *, detailed: bool) -> Iterator[Listed]:
    """`detailed`: with signatures and costs, for which code is read."""
    details = _Details(functions) if detailed else None
    for match in matches:
        copies = len(match.copies or ())
        if not match.bodies:
            yield Listed(match.name, match.kind.value, copies=copies)
            continue
        body = match.bodies[0]
        file, line = functions.image.pclntab.line(body.address) or ("", 0)
        one = Listed(match.name, match.kind.value, file, line, copies, len(match.bodies))
        yield one if details is None else details.of(one, body)


class _Details:
    def __init__(self, functions: Functions) -> None:
        image = functions.image
        types = types_of(image, runtime())
        self._places = Places(image, types)
        self._signatures = Signatures(functions, types, (), signatures_in_catalogue)

    def of(self, one: Listed, body: Function) -> Listed:
        signature = self._signatures.of(body)
        return Listed(
            one.func, one.kind, one.file, one.line, one.copies, one.bodies,
            signature.text(one.func) if signature.known else None,
            *self._costs(body, signature),
        )  # fmt: skip

    def _costs(self, body: Function, signature: FunctionSignature) -> tuple[str | None, tuple[str, ...]]:
        """Of the entry, and of each return with its results."""
        try:
            code = self._places.code(body)
            entry = code.entry_site()
            assignment = signature.assignment()
            words = [piece.register for one in (assignment.results if assignment else ()) for piece in one]
            wanted = [word for word in words if word is not None and not word.startswith("xmm")]
            returns = code.return_sites(wanted, allow_faults=True) if entry is not None else []
        except GotapError:
            return None, ()
        return COSTS[entry.cost] if entry is not None else None, tuple(COSTS[site.cost] for site in returns)


def _json_lines(functions: Iterator[Listed]) -> Iterator[str]:
    for one in functions:
        yield msgspec.json.encode(one).decode()


def _lines(functions: Iterator[Listed]) -> Iterator[str]:
    for one in functions:
        if not one.bodies:
            copies = _counted(one.copies, "copy", "copies")
            yield printable(f"{one.func}  inlined everywhere: {copies}, for :entry and :inline")
            continue
        yield printable(one.signature or one.func)
        if one.entry is not None or one.returns or one.signature is not None:
            yield printable(f"    {_details(one)}")


def _details(one: Listed) -> str:
    """Where it is, what its probes cost, what of it was inlined."""
    parts: list[str] = [f"{one.file}:{one.line}"] if one.file else []
    if one.kind != FunctionKind.FUNCTION.value:
        parts.append(one.kind)
    parts.append(f"entry {one.entry}" if one.entry is not None else "cannot be probed")
    by_cost: dict[str, int] = {}
    for cost in one.returns:
        by_cost[cost] = by_cost.get(cost, 0) + 1
    parts += [f"{_counted(count, 'return', 'returns')} {cost}" for cost, count in by_cost.items()]
    if one.entry is not None and not one.returns:
        parts.append("does not return")
    if one.copies:
        parts.append(_counted(one.copies, "inlined copy", "inlined copies"))
    if one.signature is None:
        parts.append("arguments unknown: say them by `sig`")
    return ", ".join(parts)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
