"""Jumps fit where the binding puts probes; goroutines are parked where the compiler says that they can be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest

from gobuild import NEWEST, OLDEST, build, compiler_listing, every_version
from gotap.image.code.jumps import JumpSite, UnsafePoints, jump_sites
from gotap.image.function_code import SitesFor, function_code
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.probe.binding import bind
from gotap.probe.catalogue import libraries, runtime
from gotap.probe.script.binding.binder import Options, bind_script
from gotap.probe.script.language.parser import parse_script
from gotap.probe.sources import types_of

_MODES = {
    "plain": ("plain", ()),
    "pie_stripped": ("pie_stripped", ()),
    "race": ("race", ()),
    "unoptimised": ("plain", ("-gcflags=all=-N -l",)),
}

#: Sites that may happen to lie in two pages.
_UNLUCKY = 1

Bind = Callable[[Image, SitesFor], Iterable[int]]


def catalogue(image: Image, sites_for: SitesFor) -> Iterator[int]:
    """File offsets of all probes of all libraries."""
    bound = bind(image, types_of(image, runtime()), libraries(), runtime(), sites_for)
    probes = [probe for operation in bound.bound for probe in operation.probes]
    for probe in [*probes, *([bound.spawn] if bound.spawn else [])]:
        yield from (site.file_offset for site in probe.sites)


def script(text: str) -> Bind:
    def offsets(image: Image, sites_for: SitesFor) -> Iterator[int]:
        bound = bind_script(parse_script(text), image, Options(sites_for=sites_for))
        for placed in bound.routines:
            yield from (site.file_offset for site, _ in placed.sites)

    return offsets


def found(image: Image, bind: Bind, sites_for: SitesFor) -> Counter[str]:
    """How many sites can be patched live, how many before the program begins, how many not at all."""
    by_function: dict[int, tuple[Function, set[int]]] = {}
    for offset in bind(image, sites_for):
        address = image.elf.address_of(offset)
        assert address is not None
        function = image.pclntab.function_at(address)
        assert function is not None
        by_function.setdefault(function.address, (function, set()))[1].add(address)
    counts: Counter[str] = Counter()
    for function, addresses in by_function.values():
        unsafe = UnsafePoints.of(image.pclntab, function)
        for site in jump_sites(function_code(image, function), addresses, unsafe).values():
            counts["none" if not isinstance(site, JumpSite) else "live" if site.live else "early"] += 1
    return counts


def server(version: str, how: str = "plain") -> Image:
    mode, flags = _MODES[how]
    return Image.open(build("httpserver", version, mode=mode, flags=flags))


@pytest.mark.parametrize("version", every_version())
def test_the_catalogue_has_room(version: str) -> None:
    counts = found(server(version), catalogue, SitesFor.LIVE_JUMPS)
    assert counts["live"] >= counts.total() - _UNLUCKY, counts
    assert counts["live"] >= 20


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=() if how == "pie_stripped" else pytest.mark.matrix) for how in _MODES]
)
def test_the_catalogue_has_room_in_all_builds(how: str) -> None:
    counts = found(server(NEWEST, how), catalogue, SitesFor.LIVE_JUMPS)
    assert counts["live"] >= counts.total() - _UNLUCKY, counts


@pytest.mark.parametrize("version", every_version())
def test_calls_have_room(version: str) -> None:
    """Entries and all returns of all of net/http."""
    counts = found(server(version), script("net/http.* { @ = count() }"), SitesFor.LIVE_JUMPS)
    assert counts["live"] > 0.96 * counts.total(), counts
    counts = found(server(version), script("net/http.* { @ = count() }"), SitesFor.JUMPS)
    assert counts["none"] < 0.03 * counts.total(), counts


@pytest.mark.parametrize("version", every_version())
def test_entries_have_room(version: str) -> None:
    """Without conditions: behind the check of the stack, where up to Go 1.20 a uprobe would be at the check's jump.

    Inlined calls are among them, which often have room before the program begins only.
    """
    text = "net/http.*:entry { @ = count() }"
    counts = found(server(version), script(text), SitesFor.LIVE_JUMPS)
    assert counts["live"] > 0.8 * counts.total(), counts
    assert counts["none"] < 0.06 * counts.total(), counts
    bound = bind_script(parse_script(text), server(version), Options(sites_for=SitesFor.LIVE_JUMPS))
    assert not any(site.site.edge for placed in bound.routines for site, _ in placed.sites)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_inlined_calls_have_room(version: str) -> None:
    """Many are so small and so close to each other that a jump to one would cover another."""
    counts = found(server(version), script("strings.*:entry { @ = count() }"), SitesFor.LIVE_JUMPS)
    assert counts["live"] > 0.65 * counts.total(), counts
    assert counts["none"] < 0.06 * counts.total(), counts


# -- parked goroutines ------------------------------------------------------------------------------------------------

_HEAD = re.compile(r"(\S+) STEXT ")
_LINE = re.compile(r"\t0x[0-9a-f]+ (\d+) \([^)]*\)\t(\S+)\t?(.*)")


@pytest.mark.parametrize("version", every_version())
def test_unsafe_points_are_the_compilers(version: str) -> None:
    image = Image.open(build("faults", version))
    unsafe: UnsafePoints | None = None
    address = value = 0
    compared: Counter[int] = Counter()
    recoveries = 0
    for line in compiler_listing("faults", version).splitlines():
        if (head := _HEAD.match(line)) is not None:
            name = head[1].replace('"".', "main.")
            # What the compiler itself adds may be another package's in the program.
            function = image.pclntab.find(name) if name.startswith("main.") else None
            unsafe = UnsafePoints.of(image.pclntab, function) if function is not None else None
            address, value = (function.address, -1) if function is not None else (0, 0)
        elif (row := _LINE.match(line)) is not None and unsafe is not None:
            at, operation, operands = address + int(row[1]), row[2], row[3]
            if operation == "PCDATA" and operands.startswith("$0, $"):
                value = int(operands[len("$0, $") :])
            elif operation == "CALL" and operands.startswith("runtime.deferreturn("):
                recoveries += at == unsafe.recovery
            if operation not in ("PCDATA", "FUNCDATA", "TEXT", "NOP"):
                assert unsafe.unsafe(at) == (value == -2), line
                compared[value] += 1
    assert set(compared) == {-1, -2}  # no restartable sequences on amd64
    assert compared[-1] > 1000
    assert compared[-2] > 50
    assert recoveries > 5
