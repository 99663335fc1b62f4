"""What `gotap go build` left in a program: which gotap wove it, by which catalogue, which operations it covers.

A woven program has the package gotaprt (src/gotap/weave/runtime), whose functions stay in the function table when a
program is stripped. Its variable `marker` is a text with both versions. What is woven into a package for an operation
begins in functions called `PACKAGE.gotap_OPERATION_begin_N`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import numpy as np

from gotap.image.containers.container import Container
from gotap.image.containers.memory import PF_X
from gotap.image.facts.buildinfo import string_variables
from gotap.image.facts.gofile import GoFile
from gotap.image.facts.model import WovenFacts, WovenOperation
from gotap.image.facts.told import Told
from gotap.image.functions.names import Names

#: Functions of the runtime package, and those that are woven into Go's own package runtime in any case.
_PACKAGE, _RUNTIME = "gotaprt.", "runtime.gotap_"
#: gotaprt/version.go: gotap's version and the catalogue's edition, each with a byte behind it that no UTF-8 has.
_HEAD = b"\xffgotap woven\xff"
_MARKER = re.compile(re.escape(_HEAD) + rb"([ -~]{1,32})\xff([0-9a-f]{0,32})\xff")
_LONGEST = len(_HEAD) + 66
#: Places that look like the marker; a program may hold other woven programs among its data.
_MAX_MARKERS = 16
_BEGIN = re.compile(r"(?P<package>.+)\.gotap_(?P<operation>\w+)_begin_\d+")
#: Characters of such a name, and how many operations are told: a file may hold any names.
_LONGEST_NAME, _MOST_OPERATIONS = 1024, 1024
_ESCAPED = re.compile(r"%([0-9a-f]{2})")


def woven(file: GoFile) -> Told[WovenFacts | None]:
    """None for a program that is not woven."""
    if not file.names:
        return Told(None, file.why_no_names)
    package = file.names.starting_with(_PACKAGE)
    if package is None and (name := file.names.starting_with(_RUNTIME)) is None:
        return Told(None, "no function of gotap's runtime")
    operations = woven_operations(file.names)
    if package is None:
        return Told(WovenFacts(None, None, operations), f"function {name}, without gotap's runtime package")
    for address, version, catalogue in _markers(file.container):
        found = WovenFacts(version, catalogue or None, operations)
        return Told(found, f"functions of gotap's runtime, and its marker of gotap {version} at {address:#x}")
    if not operations:  # a package that happens to have that name
        return Told(None, f"function {package}, but no marker of gotap's runtime")
    return Told(WovenFacts(None, None, operations), f"function {package}; the marker is gone")


def woven_operations(names: Names) -> tuple[WovenOperation, ...]:
    """By package and operation."""
    found: set[WovenOperation] = set()
    for name in names.holding(".gotap_"):
        if len(name) <= _LONGEST_NAME and (match := _BEGIN.fullmatch(name)) and len(found) < _MOST_OPERATIONS:
            package = _ESCAPED.sub(lambda one: chr(int(one[1], 16)), match["package"])
            found.add(WovenOperation(match["operation"].replace("_", "."), package))
    return tuple(sorted(found, key=lambda one: (one.package, one.operation)))


def _markers(container: Container) -> Iterator[tuple[int, str, str]]:
    """(Address, version, edition) of the markers that a string variable of this program holds: its own."""
    # Mach-O has constants and code in one segment.
    data = [one for one in container.code_last() if not one.flags & PF_X or container.format != "elf"]
    for at in islice(container.search(_HEAD, data), _MAX_MARKERS):
        match, address = _MARKER.match(container.data[at : at + _LONGEST]), container.address_of(at)
        if match is None or address is None:
            continue
        held = string_variables(container, np.array([address], np.uint64))
        if any(length == len(match[0]) for _, length in held):
            yield address, match[1].decode(), match[2].decode()
