"""Counts exact to the call, under recursion, stacks that grow, panics, Goexit, migration, collections all the time."""

import json
import os
import subprocess
from typing import Any

import pytest

from cli import started
from gobuild import NEWEST, OLDEST, build
from kernel_access import needs_bpf
from trace_lines import calls_of, maps_of

pytestmark = [pytest.mark.root, needs_bpf]

SCRIPT = (
    "main.*:entry { @entered[func] = count() } "
    "main.*:return { @returned[func] = count() } "
    "main.*:panic { @unwound[func] = count() }"
)
#: About how many calls; ten million with --matrix.
FEW, MANY = 200_000, 10_000_000


def stressed(go: str, calls: int, script: str, *options: str) -> tuple[dict[str, int], bytes, str]:
    """What the program counted itself, and both outputs of the trace."""
    environment = {**os.environ, "GOGC": "5"}
    with subprocess.Popen([str(build("stress", go)), str(calls)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env=environment) as program:  # fmt: skip
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            with started("trace", "-p", str(program.pid), "--json", "--max-overhead", "off", *options, script
                         ) as tracing:  # fmt: skip
                tracing.attached()
                program.stdin.write("go\n")
                program.stdin.flush()
                told: dict[str, int] = json.loads(program.stdout.readline())
                done = tracing.finish()
        finally:
            program.kill()
    assert done.code == 0
    return told, done.out, done.err


def by_function(maps: dict[str, dict[str, Any]], name: str) -> dict[str, int]:
    return {json.loads(key)[0]: value for key, value in maps.get(name, {}).items()}


@pytest.mark.parametrize(
    ("go", "calls"),
    [
        (OLDEST, FEW),
        (NEWEST, FEW),
        pytest.param(OLDEST, MANY, marks=pytest.mark.matrix),
        pytest.param(NEWEST, MANY, marks=pytest.mark.matrix),
    ],
)
def test_every_call_is_counted_once_and_ends_once(go: str, calls: int) -> None:
    told, out, err = stressed(go, calls, SCRIPT)
    maps = maps_of(out)
    entered, returned, unwound = (by_function(maps, name) for name in ("@entered", "@returned", "@unwound"))
    functions = [name for name in told if " " not in name]
    ended = {name: told.get(f"{name} panic", 0) + told.get(f"{name} goexit", 0) for name in functions}
    assert {name: entered.get(name, 0) for name in functions} == {name: told[name] for name in functions}
    followed = [name for name in functions if name != "main.twice"]  # it is inlined: nothing of it returns
    assert {name: returned.get(name, 0) for name in followed} == {name: told[name] - ended[name] for name in followed}
    assert {name: unwound.get(name, 0) for name in followed} == {name: ended[name] for name in followed}
    assert ", 0 dropped" in err


def test_every_call_is_one_event_that_says_how_it_ended() -> None:
    functions = ["main.fails", "main.middle", "main.survives", "main.leaves", "main.passes", "main.panicking"]
    told, out, err = stressed(NEWEST, 20_000, ", ".join(functions))
    seen: dict[tuple[str, str], int] = {}
    for event in calls_of(out):
        key = event["func"], event["ended"]
        seen[key] = seen.get(key, 0) + 1
    for name in functions:
        panics, exits = told.get(f"{name} panic", 0), told.get(f"{name} goexit", 0)
        assert seen.get((name, "panic"), 0) == panics
        assert seen.get((name, "goexit"), 0) == exits
        assert seen.get((name, "return"), 0) == told[name] - panics - exits
    assert ", 0 dropped" in err
