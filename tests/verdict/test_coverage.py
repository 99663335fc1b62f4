"""Coverage of real binaries: what is there, what binds, and copies that the compiler inlined, by its own word (-m)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import gobuild
from gotap.image.function_code import FunctionCodes, SitesFor
from gotap.image.image import Image
from gotap.inject.hookable import unhookable
from gotap.inject.sites import Sites
from gotap.probe.binding import bind
from gotap.probe.catalogue import Library, libraries, load_library, runtime
from gotap.probe.fitting import offsets_of, without_operations
from gotap.probe.sources import types_of
from gotap.verdict.coverage import coverage_of
from gotap.verdict.model import Coverage

SOURCE = """package main

import "os"

// Small enough to be inlined, and kept by a variable so that it has a body of its own, too.
func both(n int) int { return n*3 + len(os.Args) }

// Inlined everywhere, so that nothing is left of it.
func gone(n int) int { return n*5 + len(os.Args) }

//go:noinline
func whole(n int) int { return n*7 + len(os.Args) }

// Inlined, and calls what is watched.
func outer(n int) int { return whole(n) + 1 }

var kept = both

//go:noinline
func caller(n int) int { return both(n) + gone(n) + whole(n) + outer(n) }

// Follows a pointer at once, which no trampoline may do: when it is nil, the runtime looks for the function of the PC.
//
//go:noinline
func follow(n *int) int { return *n }

func main() { n := len(os.Args); println(caller(n), kept(2), follow(&n)) }
"""
OPERATION = """
  {name}:
    span: {{kind: internal, name: "{name}"}}
    begin:
{begins}
    end:
      - outcome: returned
        return: (m int)
    attributes: {{}}
"""


def operation(name: str, *functions: str) -> str:
    begins = "\n".join(f"      - function: {one}(n int)" for one in functions)
    return OPERATION.format(name=name, begins=begins)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    directory = tmp_path_factory.mktemp("inlining") / "inlining"
    directory.mkdir()
    (directory / "go.mod").write_text("module example.com/inlining\n\ngo 1.18\n")
    (directory / "main.go").write_text(SOURCE)
    return Image.open(gobuild.build(directory, gobuild.NEWEST))


def covered(image: Image, *operations: str) -> Coverage:
    text = "library: main\nrequest: {}\noperations:" + "".join(operations)
    library: Library = load_library(text, "test.yaml")
    return coverage(image, [library])


def coverage(image: Image, libraries: Sequence[Library]) -> Coverage:
    codes = FunctionCodes(image)
    return coverage_of(image, libraries, runtime(), Sites(image, codes).fits, codes)


def test_the_compiler_inlines_as_the_tests_below_assume(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(SOURCE)
    command = ["go", "build", "-gcflags=-m", "-o", "/dev/null", "main.go"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    assert {name for name in ("both", "gone", "outer", "whole") if f"inlining call to {name}" in told} == {
        "both", "gone", "outer",
    }  # fmt: skip


def test_a_function_that_has_copies_too_is_bound_and_they_are_told(image: Image) -> None:
    [one] = covered(image, operation("job", "main.both")).operations
    assert one.sites
    assert one.inlined == {"main.both": "also as 1 copy in main.caller"}


def test_a_function_that_is_only_inlined_does_not_bind(image: Image) -> None:
    found = covered(image, operation("job", "main.gone"))
    [one] = found.operations
    assert one.present
    assert not one.sites
    assert one.inlined == {"main.gone": "only as 1 copy in main.caller"}
    assert "it was inlined into main.caller" in found.missing["job"]


def test_a_function_that_is_never_inlined_has_no_copies(image: Image) -> None:
    [one] = covered(image, operation("job", "main.whole")).operations
    assert one.sites
    assert one.inlined == {}


def test_a_copy_that_calls_what_is_watched_is_seen_there(image: Image) -> None:
    """outer is inlined into caller, but its copy calls whole, which has a probe."""
    [one] = covered(image, operation("job", "main.whole", "main.outer")).operations
    assert one.inlined == {}


def test_what_the_binary_does_not_hold_is_absent_and_not_missing(image: Image) -> None:
    found = covered(image, operation("job", "main.whole"), operation("other", "main.nothing"))
    assert [one.name for one in found.bound] == ["job"]
    assert found.missing == {}
    assert found.operations[1].reason == "main.nothing is not in this binary"


def test_nothing_is_bound_where_nothing_is_held(image: Image) -> None:
    found = coverage(image, libraries())
    assert [one.present for one in found.operations] == [False] * len(found.operations)
    assert found.missing == {}


def test_a_place_without_jump_is_told_with_its_reason(image: Image) -> None:
    found = covered(image, operation("job", "main.whole"), operation("other", "main.follow"))
    job, other = found.operations
    assert job.jumps
    assert all(one.springboard and one.hook and not one.reason for one in job.jumps)
    assert [one.name for one in found.bound] == ["job", "other"]
    assert [one.name for one in found.hooked] == ["job"]
    [entry] = [one for one in other.jumps if not one.springboard]
    assert not entry.hook
    assert entry.cost == "single-step"
    assert entry.reason.endswith("may fault")
    assert other.unhooked == f"main.follow cannot be hooked: {entry.reason}"


@pytest.mark.parametrize("mode", ["plain", pytest.param("race", marks=pytest.mark.matrix),
                                  pytest.param("noopt", marks=pytest.mark.matrix)])  # fmt: skip
@pytest.mark.parametrize("go", gobuild.every_version())
def test_what_is_hooked_is_what_hooking_takes(go: str, mode: str) -> None:
    """The same sites and the same refusals as in `--via hook`; -race and -N -l are no hindrance."""
    flags = ("-gcflags=all=-N -l",) if mode == "noopt" else ()
    image = Image.open(gobuild.build("httpserver", go, mode="plain" if flags else mode, flags=flags))
    sites = Sites(image)
    found = coverage(image, libraries())
    jumping = bind(image, types_of(image, runtime()), libraries(), runtime(), SitesFor.LIVE_JUMPS)
    refused = unhookable(sites, offsets_of(jumping))
    taken = without_operations(jumping, refused)
    assert [one.name for one in found.hooked] == [one.operation.name for one in taken.bound]
    assert bool(found.unhooked) is (taken.spawn is None)
    told = {one.address: one.hook for operation in found.operations for one in operation.jumps}
    assert {image.elf.offset_of(address) for address, hook in told.items() if not hook} == set(refused)
    assert len(told) > 15


@pytest.mark.parametrize("go", gobuild.every_version())
def test_net_http_is_covered_whole_and_its_version_is_gos(go: str) -> None:
    image = Image.open(gobuild.build("httpserver", go))
    found = coverage(image, libraries())
    operations = [one for one in found.operations if one.library == "net/http"]
    assert {one.name: bool(one.sites) for one in operations} == {"http.server": True, "http.client": True}
    assert {one.name: one.inlined for one in operations} == {"http.server": {}, "http.client": {}}
    assert all(one.springboard and one.hook for each in found.operations for one in each.jumps)
    assert found.versions["net/http"] == go
    assert found.unwatched == found.unhooked == ()
