"""Programs of `go run`, really run by it; the oracle is what the go command prints of what it does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gobuild import NEWEST, OLDEST, PROGRAMS, go_tool
from gotap.process.go_run import may_be_go_run, read_go_run
from gotap.process.proc import Process
from gotap.process.reading import read_surroundings
from processes import eventually, running

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_program_of_go_run(go: str, tmp_path: Path) -> None:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    go_command = f"{go_tool(go, 'env', 'GOROOT').strip()}/bin/go"
    with running(go_command, "run", ".", cwd=PROGRAMS / "pluginhost", env=environment) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        pid = int(subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(child.pid)], text=True))
        with Process(pid) as process:
            found = read_surroundings(process)
        child.stdin.close()
        eventually(lambda: child.poll() is not None, "the end of go run")
        child.stdin = None
    assert found.go_run is True
    assert "its parent is `go run`" in found.evidence["go_run"]
    assert found.name == "pluginhost"


@pytest.mark.parametrize(
    ("exe", "expected"),
    [
        ("/tmp/go-build3914783911/b001/exe/main", True),
        ("/var/tmp/own/go-build1/b001/exe/server", True),
        (f"/cache/go-build/01/{HASH}-d/server", True),
        ("/tmp/go-build/b001/exe/main", False),
        ("/opt/go-build12/bin/server", False),
        (f"/cache/go-build/01/{HASH}-d", False),
        ("/usr/bin/go", False),
    ],
)
def test_paths(exe: str, expected: bool) -> None:
    assert may_be_go_run(exe) is expected
    assert read_go_run(exe, "go", ("go", "run", "."))[0] is expected


def test_tools_of_a_module_are_run_from_the_same_place() -> None:
    exe = f"/cache/go-build/01/{HASH}-d/stringer"
    assert read_go_run(exe, "go", ("go", "tool", "stringer"))[0] is False
    assert read_go_run(exe, "", ()) == (True, "it lies in Go's build cache, and the go command is gone")
