"""Standard streams that are closed, broken or full: told where they hold what was asked for, and else no hindrance."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import GOTAP, clean_environment, gotap, spans_in
from goservers import Server
from httpload import load
from kernel_access import needs_bpf
from processes import eventually


def closing(*numbers: int) -> list[str]:
    """A command that closes descriptors and executes the rest."""
    return ["sh", "-c", 'exec "$@" ' + " ".join(f"{number}>&-" for number in numbers), "sh"]


@contextmanager
def broken_pipe() -> Iterator[int]:
    """A pipe's writing end without a reader."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@pytest.mark.parametrize("words", [["--help"], ["inspect", "/bin/true"], ["inspect", "HELLO"], ["attach"]])
def test_all_three_closed_gives_no_traceback(words: list[str], hello: Path) -> None:
    arguments = [str(hello) if word == "HELLO" else word for word in words]
    done = gotap(*arguments, prefix=closing(0, 1, 2))
    assert done.code in (0, 1, 2)


def test_what_cannot_be_shown_is_a_failure(hello: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = gotap("inspect", str(hello), stdout=full.fileno())
    assert done.code == 1
    assert "cannot write to stdout: No space left on device" in done.err


def test_a_reader_that_has_gone_ends_it_as_sigpipe_would(hello: Path) -> None:
    with broken_pipe() as pipe:
        done = gotap("inspect", str(hello), stdout=pipe)
    assert done.code == 128 + signal.SIGPIPE
    assert done.err == ""


def test_messages_never_go_to_stdout(hello: Path) -> None:
    done = gotap("inspect", "/nonexistent", prefix=closing(2))
    assert done.code == 1
    assert done.out == b""


@pytest.mark.root
@needs_bpf
def test_watching_goes_on_when_nobody_reads_its_messages(server: Server, tmp_path: Path) -> None:
    """`gotap attach … 2>&1 | head -1`, and `2>&-`."""
    for stderr_closed in (False, True):
        file = tmp_path / f"{stderr_closed}.jsonl"
        arguments = ["attach", str(server.pid), "4194399999", "--to", str(file), "--count", "3"]
        with broken_pipe() as pipe:
            process = subprocess.Popen(
                [*(closing(2) if stderr_closed else []), *GOTAP, *arguments], stderr=pipe, env=clean_environment()
            )

        def requested(file: Path = file, process: subprocess.Popen[bytes] = process) -> bool:
            load(server.http, "/hello", 1)
            return process.poll() is not None

        try:
            eventually(requested, "its end after three spans")
            assert process.returncode == 0
            assert len(spans_in(file.read_bytes())) == 3
        finally:
            process.kill()
            process.wait()
