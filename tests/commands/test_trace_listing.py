"""gotap trace -l: without root, without a process."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import gobuild
from cli import gotap
from gobuild import go_tool

#: As nobody, where the tests run as root.
UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture(scope="module")
def program() -> Path:
    return gobuild.build("orders", gobuild.NEWEST)


def listed(*arguments: str) -> list[str]:
    done = gotap("trace", *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out.decode().splitlines()


def test_names(program: Path) -> None:
    """Functions with code are those of the symbol table; what exists only inlined says so."""
    found = listed(str(program), "-l", "main.*")
    symbols = {line.split()[-1] for line in go_tool("", "tool", "nm", str(program)).splitlines()
               if re.search(r" [Tt] main\.", line)}  # fmt: skip
    made = {name for name in symbols if "deferwrap" in name}  # by the compiler, to call another one
    assert {name for name in found if "inlined" not in name} == symbols - made
    assert [name for name in found if "inlined" in name and "tiny" in name] == [
        "main.tiny  inlined everywhere: 1 copy, for :entry and :inline"
    ]


def test_signatures_and_costs(program: Path) -> None:
    found = listed(str(program), "-l", "main.*", "-v")
    work = found[found.index("main.work(name string, n int) (string, error)") + 1]
    assert "orders/main.go:21, entry emulated, " in work
    assert "return" in work
    assert work.endswith(", springboard, hook")
    shape = "main.shape(p *main.point, tags map[string]int, any interface {}, ratio float64) []main.point"
    assert shape in found


def test_json(program: Path) -> None:
    found = {one["func"]: one for one in map(json.loads, listed(str(program), "-l", "main.*", "--json"))}
    assert found["main.recurse"]["signature"] == "main.recurse(n int) int"
    assert found["main.recurse"]["entry"] == "emulated"
    tiny = {"func": "main.tiny", "kind": "function", "copies": 1, "covered": "1 of 1 copy"}
    assert found["main.tiny"].pop("signature").startswith("main.tiny(n int)")
    assert found["main.tiny"] == tiny
    assert found["main.main.func1"]["kind"] == "closure"
    jumps = found["main.recurse"]["jumps"]
    assert jumps["entry"].keys() == {"address", "springboard", "hook"}
    assert all(one["springboard"] and one["hook"] for one in [jumps["entry"], *jumps["returns"]])


def test_every_way_to_say_which_file(program: Path) -> None:
    every = listed(str(program), "-l")
    assert listed("-l", str(program)) == every
    assert len(every) > 1000
    assert listed("-l", str(program), "main.work") == listed(str(program), "-l", "main.work") == ["main.work"]


def test_stripped_programs_have_names() -> None:
    program = gobuild.build("orders", gobuild.NEWEST, mode="pie_stripped")
    work, costs = listed(str(program), "-l", "main.work", "-v")
    assert work == "main.work"
    assert costs.endswith("arguments unknown: say them by `sig`")


def test_what_is_not_there(program: Path) -> None:
    done = gotap("trace", str(program), "-l", "main.wrk")
    assert done.code == 1
    assert "no function matches `main.wrk`" in done.err
    assert "did you mean `main.work`" in done.err
    done = gotap("trace", "/bin/sh", "-l", "main.*")
    assert done.code == 1
    assert "is not a Go program" in done.err


@pytest.mark.root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed (Debian package util-linux)")
def test_without_root(program: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    readable = Path("/tmp") / f"gotap-listing-{program.stat().st_ino}"
    shutil.copy(program, readable)
    try:
        done = gotap("trace", str(readable), "-l", "main.work", prefix=UNPRIVILEGED)
    finally:
        readable.unlink()
    assert (done.code, done.out) == (0, b"main.work\n"), done.err


@pytest.mark.root
def test_tracepoints_and_system_calls() -> None:
    assert "tracepoint:sched:sched_switch" in listed("-l", "tracepoint:sched:*")
    assert "syscall:openat" in listed("-l", "syscall:open*")


def test_tools() -> None:
    done = gotap("trace", "--tool", "list")
    assert done.code == 0
    names = [line.split()[0] for line in done.out.decode().splitlines()]
    assert "slowhttp" in names
    assert all(len(line.split()) > 2 for line in done.out.decode().splitlines()), "each says what for"
