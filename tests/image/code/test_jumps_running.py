"""Go programs in which thousands of jumps stand do what they did, and events happen exactly as often as calls."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gobuild import ALL, NEWEST, OLDEST, MissingTool, build
from gotap.image.code import FunctionCode
from gotap.image.code.jumps import UnsafePoints, jumpable
from gotap.image.functions.pclntab import Function
from patched_programs import Chooser, GoCode, Patched, Patcher
from torture_program import BUILDS, NOISES, PANICKING, Torture, executable

_UNOPTIMISED = "unoptimised"
_MODES = ("plain", _UNOPTIMISED, "pie", "race", "external")
#: Every how manieth instruction of a function has an event, in as many copies of the program.
_STRIDE = 7


def cases() -> list[Any]:
    """All versions, plain, and all modes, newest; but for the oldest and the newest plain one of the matrix."""
    pairs = [(version, "plain") for version in ALL] + [(NEWEST, mode) for mode in _MODES[1:]]
    ordinary = {(OLDEST, "plain"), (NEWEST, "plain")}
    return [pytest.param(*pair, marks=() if pair in ordinary else pytest.mark.matrix) for pair in pairs]


@functools.cache
def program(version: str, mode: str) -> GoCode:
    flags = ("-gcflags=all=-N -l",) if mode == _UNOPTIMISED else ()
    return GoCode(build("faults", version, mode="plain" if flags else mode, flags=flags))


def patched(program: GoCode, choose: Chooser, directory: Path) -> Patched:
    patcher = Patcher(program)
    patcher.patch(choose)
    return patcher.write(directory / program.path.name)


def started(program: Path) -> list[str]:
    """The command that starts it where return addresses are what they were made for."""
    if shutil.which("setarch") is None:
        raise MissingTool("setarch is not installed: install util-linux")
    return ["setarch", "-R", str(program)]


def output(program: Path) -> str:
    environment = {**os.environ, "GOGC": "5", "GOTRACEBACK": "all"}
    done = subprocess.run(started(program), capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr[:4000])
    return done.stdout


def ends_and_calls(function: Function, code: FunctionCode, unsafe: UnsafePoints) -> Iterable[int]:
    """Where calls of the function begin and end, and all that it calls."""
    if unsafe.foreign:
        return
    chosen = jumpable(code, unsafe, live=False)
    entry = chosen.entry_site()
    yield from [entry.address] if entry is not None else []
    yield from (site.address for site in chosen.return_sites())
    yield from (site.address for site in code.call_sites())


@pytest.mark.parametrize(("version", "mode"), cases())
def test_all_functions_patched(version: str, mode: str, tmp_path: Path) -> None:
    """The runtime's too: stacks grow and are walked, panics unwind, while nearly every return address is a jump's."""
    original = program(version, mode)
    copy = patched(original, ends_and_calls, tmp_path)
    assert len(copy.sites) > 10 * copy.refused
    assert output(copy.path) == output(original.path)


@pytest.mark.parametrize("remainder", range(_STRIDE))
@pytest.mark.parametrize(("version", "mode"), [(OLDEST, "plain"), (NEWEST, "plain")])
def test_all_instructions(version: str, mode: str, remainder: int, tmp_path: Path) -> None:
    """Events at arbitrary instructions: of the program all of them in turn, of a part of what it uses."""

    def choose(function: Function, code: FunctionCode, unsafe: UnsafePoints) -> Iterable[int]:
        if function.name.startswith("main.") or function.index % (3 * _STRIDE) == remainder:
            yield from (one.ip for one in code.graph.instructions[remainder::_STRIDE])

    original = program(version, mode)
    copy = patched(original, choose, tmp_path)
    assert copy.sites
    assert output(copy.path) == output(original.path)


# -- counting -------------------------------------------------------------------------------------------------------


class Ends:
    """Chooses where every call begins and ends once, without conditions; `functions`: what each address is of."""

    def __init__(self) -> None:
        self.entries: dict[int, str] = {}
        self.returns: dict[int, str] = {}

    def __call__(self, function: Function, code: FunctionCode, unsafe: UnsafePoints) -> Iterable[int]:
        chosen = jumpable(code, unsafe)
        name = re.sub(r"\[.*\]", "[...]", function.name)
        entry, returns = chosen.entry_site(), chosen.return_sites()
        if entry is not None and entry.once and entry.edge is None:
            self.entries[entry.address] = name
        if all(site.edge is None for site in returns):
            self.returns |= {site.address: name for site in returns}
        return {*self.entries, *self.returns} & {one.ip for one in code.graph.instructions}


@contextmanager
def running(copy: Patched) -> Iterator[Torture]:
    words = [*started(copy.path), f"-noise={','.join(NOISES)}", "-workers=4"]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        environment = {**os.environ, "GOGC": "5", "GOTRACEBACK": "all"}
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        with process:
            one = Torture(process, copy.path, errors, process.pid)
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line == "ready\n", one.fate()
                yield one
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("go", "how"),
    [
        pytest.param(go, how, marks=() if (go, how) in ((OLDEST, "static"), (NEWEST, "static")) else pytest.mark.matrix)
        for go, how in [*((go, "static") for go in ALL), *((NEWEST, how) for how in BUILDS if how != "static")]
    ],
)
def test_every_call_counts_once(go: str, how: str, tmp_path: Path) -> None:
    """Under garbage collection, growing stacks, profiling, changes of GOMAXPROCS and preemption."""
    ends = Ends()
    copy = patched(GoCode(executable(how, go)), ends, tmp_path)
    with running(copy) as one:
        before = copy.counts(one.pid)
        told = one.order("measure", 600)
        after = copy.counts(one.pid)
    for chosen, left_out in ((ends.entries, ()), (ends.returns, PANICKING)):
        counted: Counter[str] = Counter()
        refused = {chosen[address] for address in chosen if address not in after}
        for address in chosen.keys() & after.keys():
            counted[chosen[address]] += after[address] - before[address]
        names = {name for name in told if name in counted} - refused - set(left_out)
        assert {name: counted[name] for name in names} == {name: told[name] for name in names}
        assert names >= {"main.pair", "main.grow", "main.survives"}
