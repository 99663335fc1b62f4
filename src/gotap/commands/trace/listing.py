"""`gotap trace -l`: what can be probed in an executable, without a process and without root."""

from __future__ import annotations

import argparse
import fnmatch
import os
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from gotap.commands.main import OK
from gotap.commands.streams import show
from gotap.commands.trace.listed_jumps import Fitting, Jumps, told
from gotap.commands.trace.options import UsageError
from gotap.commands.trace.subject import the_process
from gotap.commands.trace.summary import COSTS
from gotap.image.image import Image
from gotap.inject.sites import Sites
from gotap.probe.catalogue import runtime, signatures_in_catalogue
from gotap.probe.functions.listing import Listing
from gotap.probe.functions.matching import FunctionKind, Functions, Match, Matches
from gotap.probe.functions.signatures import Signatures
from gotap.probe.functions.suggestions import no_such_function
from gotap.probe.places import Places
from gotap.probe.sources import types_of
from gotap.sinks.sanitize import printable

_KERNEL = ("tracepoint:", "syscall:")


class Shown(Struct, frozen=True, omit_defaults=True):
    """One function. `entry`, `returns`: what probes there cost; absent where there can be none. `copies`: inlined ones,
    `covered`: how many of them can be probed, and why not the others. `instances` of a generic function. `jumps`: where
    springboards and hooks are put, and whether they fit there.
    """

    func: str
    kind: str
    file: str = ""
    line: int = 0
    bodies: int = 0
    copies: int = 0
    covered: str = ""
    signature: str | None = None
    reason: str = ""  # why the signature is not known
    entry: str | None = None
    returns: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    jumps: Jumps | None = None


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
    if arguments.json:
        for one in details(functions, matches):
            show(msgspec.json.encode(one).decode())
    elif arguments.verbose:
        for one in details(functions, matches):
            show("\n".join(_two_lines(one)))
    else:
        show("\n".join(map(_line, matches.functions)))
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
    from gotap.kernel.tracefs import Tracefs

    with Tracefs() as tracefs:
        names = tracefs.tracepoints()
    entries = "syscalls:sys_enter_"
    known = [f"tracepoint:{name}" for name in names]
    known += [f"syscall:{name.removeprefix(entries)}" for name in names if name.startswith(entries)]
    found = fnmatch.filter(known, pattern if "*" in pattern else f"{pattern}*")
    if not found:
        raise UsageError(f"nothing matches `{pattern}`", "`-l 'tracepoint:*'` lists all tracepoints of this kernel")
    return found


def details(functions: Functions, matches: Matches) -> Iterator[Shown]:
    """Signatures and costs, for which code is read: some milliseconds each."""
    image = functions.image
    types = types_of(image, runtime())
    listing = Listing(Signatures(functions, types, (), signatures_in_catalogue), Places(image, types).analyse)
    fitting = Fitting(listing, Sites(image))
    for one in listing.of(matches):
        address = one.bodies[0].function.address if one.bodies else None
        file, line = (image.pclntab.line(address) if address is not None else None) or ("", 0)
        entry = one.bodies[0].entry if one.bodies else None
        yield Shown(
            one.name,
            one.kind.value,
            file,
            line,
            len(one.bodies),
            one.inlined.total if one.inlined is not None else 0,
            one.inlined.text if one.inlined is not None else "",
            one.text if one.signature.known else None,
            "" if one.signature.known else one.signature.reason,
            COSTS[entry.cost] if entry is not None else None,
            tuple(COSTS[cost] for body in one.bodies for cost in body.return_costs),
            one.instances,
            fitting.of(one.bodies) if one.bodies else None,
        )


def _line(match: Match) -> str:
    if match.bodies:
        return printable(match.name)
    copies = _counted(len(match.copies or ()), "copy", "copies")
    return printable(f"{match.name}  inlined everywhere: {copies}, for :entry and :inline")


def _two_lines(one: Shown) -> Iterator[str]:
    yield printable(one.signature or one.func)
    yield printable(f"    {_details(one)}")


def _details(one: Shown) -> str:
    """Where it is, what its probes cost, what of it was inlined."""
    parts: list[str] = [f"{one.file}:{one.line}"] if one.file else []
    if one.kind != FunctionKind.FUNCTION.value:
        parts.append(one.kind)
    if one.instances:
        parts.append(" ".join(one.instances))
    if one.bodies:
        parts.append(f"entry {one.entry}" if one.entry is not None else "cannot be probed")
        parts += [f"{_counted(count, 'return', 'returns')} {cost}" for cost, count in Counter(one.returns).items()]
        if one.entry is not None and not one.returns:
            parts.append("does not return")
        parts += told(one.jumps) if one.jumps is not None else ()
    if one.copies:
        parts.append(f"inlined: {one.covered} can be probed")
    if one.signature is None:
        parts.append("arguments unknown: say them by `sig`")
    return ", ".join(parts)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
