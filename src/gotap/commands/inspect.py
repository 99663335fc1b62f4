"""Tell what an executable or a process is: Go or not, which version, how linked, and which operations can be watched.

Needs no root for files and for your own processes. Exit code: 0 when every target could be read, 1 otherwise.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.image.image import Image
    from gotap.probe.binding import Binding, BoundOperation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", metavar="FILE|PID", help="executables or process ids")
    parser.add_argument("-v", "--verbose", action="store_true", help="all sites, and what does not bind and why")


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.main import FAILED, OK, print_error
    from gotap.commands.streams import StdoutFailed, show
    from gotap.errors import GotapError
    from gotap.sinks.sanitize import printable

    failed = False
    for number, target in enumerate(arguments.targets):
        try:
            lines = [printable(line) for line in describe(target, arguments.verbose)]
            show("\n".join([""] * bool(number) + lines))
        except StdoutFailed:
            raise
        except GotapError as error:
            print_error(error, target)
            failed = True
    return FAILED if failed else OK


def describe(target: str, verbose: bool) -> Iterator[str]:
    """Lines for one target."""
    from gotap.image.image import Image
    from gotap.probe.binding import bind
    from gotap.probe.catalogue import libraries, runtime
    from gotap.probe.sources import types_of
    from gotap.process.proc import Process

    if target.isascii() and target.isdigit():
        with Process(int(target)) as process:  # says so when it is a thread, a kernel thread, or gone
            image = Image.open(process.exe)
    else:
        image = Image.open(target)
    binding = bind(image, types_of(image, runtime()), libraries(), runtime())
    yield f"{target}: {identity(image)}"
    yield from operations(binding, verbose)


def identity(image: Image) -> str:
    """One line: version, module, how it was linked, what was stripped."""
    linkage = image.linkage
    info = image.build_info
    words = [str(image.go_version.text)]
    if info is not None and info.path:
        words.append(info.path)
    words.append(f"{image.elf.arch} {linkage.mode}")
    words.append("dynamic" if linkage.dynamic else "static")
    words.append(f"{linkage.linker} linker")
    if linkage.libc:
        words.append(linkage.libc + (" inside" if linkage.libc_static else ""))
    words += [name for name in ("cgo", "race", "trimpath", "vendored") if getattr(linkage, name)]
    words.append("stripped" if image.is_stripped else "symbols")
    words.append("DWARF" if image.has_dwarf else "no DWARF")
    return ", ".join(words) + f" ({len(image.pclntab)} functions)"


def operations(binding: Binding, verbose: bool) -> Iterator[str]:
    for operation in binding.operations:
        yield _operation(operation)
        if verbose:
            yield from _details(operation)
    if binding.spawn is None:
        yield "  !! goroutine creation is not watched: parents are found by contexts only"
    if verbose:
        yield from (f"       not bound: {one.part}: {one.reason}" for one in binding.missing)


def _operation(operation: BoundOperation) -> str:
    name = f"{operation.library} {operation.operation.name}"
    if operation.output is None:
        reason = operation.missing[0].reason if operation.missing else "nothing begins it"
        return f"  no   {name}: {reason}"
    costs = Counter(site.site.cost.name.lower().replace("_", "-") for probe in operation.probes for site in probe.sites)
    sites = ", ".join(f"{count} {cost}" for cost, count in sorted(costs.items()))
    return f"  ok   {name}: sites: {sites}"


def _details(operation: BoundOperation) -> Iterator[str]:
    for probe in operation.probes:
        for site in probe.sites:
            edge = " (one direction of a jump)" if site.site.edge else ""
            cost = site.site.cost.name.lower().replace("_", "-")
            yield f"       {site.site.address:#x} {cost}{edge}: {probe.name}"
    for one in operation.missing:
        yield f"       not bound: {one.part}: {one.reason}"
