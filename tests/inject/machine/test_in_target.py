"""What hooks read of a Go program's memory, wherever it lies."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import gobuild
from cli import started

pytestmark = pytest.mark.root  # an ordinary user may trace descendants only, where Yama says so

#: How often each of the strings is passed.
COUNT = 40


@pytest.fixture(scope="module")
def anymemory() -> Path:
    return gobuild.build("anymemory", gobuild.NEWEST)


@contextmanager
def running(executable: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command, pipe = [executable, *arguments], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def taken(process: subprocess.Popen[str], count: int) -> list[Any]:
    """The strings that take got, as a hook sees them."""
    with started("trace", "-p", str(process.pid), "--via", "hook", "--json", "main.take:entry") as tracing:
        tracing.attached()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{count}\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("done")
        done = tracing.finish(signal.SIGINT)
    assert done.code == 0
    assert " 0 dropped;" in done.err
    return [json.loads(line)["args"]["s"] for line in done.out.splitlines()]


def test_strings_in_all_kinds_of_memory(anymemory: Path) -> None:
    text = "".join(chr(ord("a") + at % 23) for at in range(2 * 4096))
    expected: list[Any] = []
    nothing = {"unavailable": "it could not be read"}
    for number in range(COUNT):
        end = len(text) - number % 16
        expected += ["a constant", f"{number} in the heap", f"on the stack {number}".ljust(24, "\0"),
                     text[number : number + 20], text[end - 20 : end], nothing]  # fmt: skip
    with running(anymemory) as process:
        assert taken(process, COUNT) == expected


def test_memory_that_comes_and_goes(anymemory: Path) -> None:
    """The program lives, each call is seen, and its string is what was there or nothing."""
    with running(anymemory, "flicker") as process:
        values = taken(process, 3000)
        assert process.poll() is None
    assert len(values) == 3000
    for value in values:
        assert value == {"unavailable": "it could not be read"} or re.fullmatch(r"\0*|[a-w]{32}", value)
