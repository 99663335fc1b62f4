"""`gotap trace -l -v` on springboards and hooks, held against what attaching refuses in the same binary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import gobuild
from gotap.commands.trace.listed_jumps import Jump, Jumps, told
from gotap.commands.trace.listing import details
from gotap.image.function_code import SitesFor
from gotap.image.image import Image
from gotap.inject.hookable import unhookable
from gotap.inject.sites import Sites
from gotap.probe.fitting import offsets_of
from gotap.probe.functions.matching import Functions
from gotap.probe.script.binding.binder import Options, bind_script
from gotap.probe.script.language.parser import parse_script

SOURCE = """package main

import "os"

//go:noinline
func deref(p *int) int { return *p }

//go:noinline
func plain(n int) int {
	if n > 1 {
		return plain(n-1) + len(os.Args)
	}
	return n
}

func main() { n := len(os.Args); println(deref(&n), plain(n)) }
"""
GOOD, BAD = Jump(0x1000, True, True), Jump(0x1010, False, False, "it is too short")
HALF = Jump(0x1020, True, False, "it is nosplit")


@pytest.mark.parametrize(
    ("jumps", "expected"),
    [
        (Jumps(), []),
        (Jumps(GOOD), ["springboard, hook"]),
        (Jumps(GOOD, (GOOD, GOOD)), ["springboard, hook"]),
        (Jumps(None, (GOOD,)), ["springboard, hook"]),
        (Jumps(BAD, ()), ["no springboard or hook", "since it is too short"]),
        (Jumps(BAD, (GOOD,)), ["springboard, hook at the return", "since it is too short"]),
        (Jumps(BAD, (GOOD, GOOD)), ["springboard, hook at the returns", "since it is too short"]),
        (Jumps(GOOD, (BAD, GOOD)), ["springboard, hook at the entry and 1 of 2 returns", "since it is too short"]),
        (Jumps(GOOD, (HALF,)), ["springboard", "hook at the entry", "since it is nosplit"]),
        (Jumps(HALF, (BAD,)), ["springboard at the entry", "no hook", "since it is nosplit; it is too short"]),
    ],
)
def test_what_is_told(jumps: Jumps, expected: list[str]) -> None:
    assert list(told(jumps)) == expected


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("small") / "small"
    directory.mkdir()
    (directory / "go.mod").write_text("module example.com/small\n\ngo 1.18\n")
    (directory / "main.go").write_text(SOURCE)
    return directory


@pytest.mark.parametrize("go", gobuild.every_version())
def test_what_may_fault_stays_where_it_is(small: Path, go: str) -> None:
    """deref's first instruction follows a pointer: the runtime finds its function by the PC when it is nil."""
    functions = Functions(Image.open(gobuild.build(small, go)))
    found = {one.func: one.jumps for one in details(functions, functions.find("main.*"))}
    deref, plain = found["main.deref"], found["main.plain"]
    assert deref is not None
    assert deref.entry is not None
    assert not deref.entry.springboard
    assert deref.entry.reason.endswith("may fault")
    assert plain is not None
    assert list(told(plain)) == ["springboard, hook"]


def sampled(functions: Functions, pattern: str, count: int) -> Iterator[str]:
    matches = functions.find(pattern).functions
    names = [one.name for one in matches if one.bodies and not one.copies and "[" not in one.name]
    yield from names[:: max(1, len(names) // count)]


@pytest.mark.parametrize("go", [gobuild.OLDEST, gobuild.NEWEST])
def test_it_is_what_attaching_refuses(go: str) -> None:
    """A script of entry and returns of a function is bound as for `--via hook`."""
    image = Image.open(gobuild.build("httpserver", go))
    functions, sites, refused = Functions(image), Sites(image), 0
    names = list(sampled(functions, "net/http.*", 30))
    for name in names:
        [listed] = details(functions, functions.find(name))
        assert listed.jumps is not None, name
        every = [*([listed.jumps.entry] if listed.jumps.entry else []), *listed.jumps.returns]
        returns = f"; {name}:return {{ @r = count() }}" if listed.returns else ""
        script = parse_script(f"{name}:entry {{ @e = count() }}{returns}")
        options = Options(sites_for=SitesFor.LIVE_JUMPS)
        offsets = offsets_of(bind_script(script, image, options))
        mine = {image.elf.offset_of(one.address): one.hook for one in every}
        against = unhookable(sites, offsets)
        theirs = {offset: offset not in against for offset in offsets if offset in mine}
        assert mine == theirs, name
        refused += not all(theirs.values())
    assert len(names) > 20
    assert refused < len(names) / 5
