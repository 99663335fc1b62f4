"""Real Go programs for arm64 with springboards and hooks in them, run by qemu-user: they notice nothing, and no event
is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from arm64_binaries import Arm64Binary, arm64
from arm64_patching import run, with_hooks, with_springboards
from gobuild import ALL, NEWEST, every_version
from gotap.image.code.arm64 import Arm64Function, JumpSite, jump_site
from gotap.image.functions.pclntab import Function


def newest() -> list[object]:
    """The newest release; the others are `matrix`: these tests take long."""
    return [go if go == NEWEST else pytest.param(go, marks=pytest.mark.matrix) for go in ALL]


@pytest.fixture
def binary(go: str) -> Arm64Binary:
    return arm64("hooked", go)


def everywhere(binary: Arm64Binary) -> list[JumpSite]:
    """Every instruction that a branch may take the place of."""
    found = (jump_site(code, one.address) for _, code in binary.compiled() for one in code.instructions)
    return [site for site in found if isinstance(site, JumpSite)]


@pytest.mark.parametrize("go", newest())
def test_every_instruction_that_can_be_displaced(binary: Arm64Binary, tmp_path: Path) -> None:
    """With all of them in springboards, the whole runtime's too, the program computes what it did."""
    sites = everywhere(binary)
    assert len(sites) > 50_000
    assert run(with_springboards(binary, sites, tmp_path / "patched")) == run(binary.path)


@pytest.mark.parametrize("go", newest())
def test_position_independent(go: str, tmp_path: Path) -> None:
    """The same, loaded somewhere else than linked for."""
    binary = arm64("hooked", go, mode="pie")
    assert run(with_springboards(binary, everywhere(binary), tmp_path / "patched")) == run(binary.path)


@pytest.mark.parametrize(("program", "mode"), [("stacks", "plain"), ("stackscgo", "static_cgo")])
@pytest.mark.parametrize("go", newest())
def test_stacks(program: str, mode: str, go: str, tmp_path: Path) -> None:
    """runtime.Callers finds the same frames and lines through displaced calls, and through hooks; C calls Go, too."""
    binary = arm64(program, go, mode=mode)
    expected = run(binary.path, stdin="\n" * 3)
    assert expected.count("\n") > 50
    assert run(with_springboards(binary, everywhere(binary), tmp_path / "springboards"), stdin="\n" * 3) == expected
    sites = [site for _, _, some in ends(binary, "") for site in some]
    assert run(with_hooks(binary, sites, tmp_path / "hooks")[0], stdin="\n" * 3) == expected


def ends(binary: Arm64Binary, prefix: str) -> list[tuple[Function, Arm64Function, list[JumpSite]]]:
    """Functions with the sites of their begin and all their ends."""
    found = []
    for function, code in binary.compiled():
        if not function.name.startswith(prefix) or code.entry is None:
            continue
        sites = [jump_site(code, address) for address in (code.entry.address, *(one.address for one in code.leavings))]
        good = [site for site in sites if isinstance(site, JumpSite)]
        if len(good) == len(sites):
            found.append((function, code, good))
    return found


@pytest.mark.parametrize("prefix", ["main.", ""], ids=["main", "all"])
@pytest.mark.parametrize("go", every_version())
def test_counts_are_exact(binary: Arm64Binary, prefix: str, tmp_path: Path) -> None:
    """Under stack growth, panics and recover, preemption and garbage collection; with hooks everywhere, too."""
    functions = ends(binary, prefix)
    sites = [site for _, _, some in functions for site in some]
    patched, counters, _ = with_hooks(binary, sites, tmp_path / "patched")
    output = run(patched, hex(counters), str(len(sites))).splitlines()
    assert output[:2] == run(binary.path).splitlines()
    values = dict(zip((site.address for site in sites), map(int, output[2].split()), strict=True))
    words = output[1].split()
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    for function, _, (first, *others) in functions:
        begun[function.name] = values[first.address]
        ended[function.name] = sum(values[site.address] for site in others)
    expected = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    for name in expected.keys() - begun.keys():  # those of Go 1.18 that load before anything else
        assert name in ("main.leaf", "main.(*circle).area")
        del expected[name]
    assert {name: begun[name] for name in expected} == expected
    assert {name: ended[name] for name in expected} == expected
