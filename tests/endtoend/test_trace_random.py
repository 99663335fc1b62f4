"""Arguments and results of random signatures, against what the program says it called them with and got."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli import started
from gobuild import build, every_version
from kernel_access import needs_bpf
from random_functions import write_program
from trace_lines import calls_of

pytestmark = [pytest.mark.root, needs_bpf]

FUNCTIONS, ROUNDS = 60, 10
#: What may be told in place of a value: floats in registers; unused arguments of functions whose stack has grown.
EXCUSES = ("float in X", "it could not be read")


def plain(value: Any) -> Any:
    """A value as Go's JSON has it."""
    match value:
        case {"map": pairs, "len": _}:
            return {key: plain(one) for key, one in pairs}
        case {"type": _, "value": one}:
            return plain(one)
        case dict():
            return {key: plain(one) for key, one in value.items()}
        case list():
            return [plain(one) for one in value]
        case _:
            return value


def excused(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("unavailable", "")).startswith(EXCUSES)


@pytest.mark.parametrize("go", every_version())
def test_random_signatures(go: str, tmp_path: Path) -> None:
    folder = tmp_path / "randomfunctions"
    folder.mkdir()
    write_program(folder, 7, FUNCTIONS, ROUNDS)
    with subprocess.Popen([str(build(folder, go))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                          ) as program:  # fmt: skip
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            with started("trace", "-p", str(program.pid), "--json", "--max-overhead", "off", "main.f*") as tracing:
                tracing.attached()
                program.stdin.write("go\n")
                program.stdin.flush()
                truth: dict[str, Any] = json.loads(program.stdout.readline())
                done = tracing.finish()
        finally:
            program.kill()
    events = [one for one in calls_of(done.out) if one["func"].removeprefix("main.") in truth]
    assert len(events) == FUNCTIONS * ROUNDS
    wrong = []
    for event in events:
        taken, given = truth[event["func"].removeprefix("main.")]
        for told, expected in ((event["args"], taken), (event["results"], given)):
            assert len(told) == len(expected), event["func"]
            wrong += [
                f"{event['func']} {name}: {value} is not {true}"
                for (name, value), true in zip(told.items(), expected, strict=True)
                if not excused(value) and plain(value) != true
            ]
    assert not wrong
