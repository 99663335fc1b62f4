from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from gotap.sinks.lines import Lines
from gotap.sinks.terminal import is_live, open_terminal
from processes import PATIENCE

HELPERS = Path(__file__).parents[1]

#: Feeds the live table hostile spans and a program's output, writes to stderr, and closes it.
SESSION = """
import os, sys
import numpy as np
from span_samples import random_spans
from gotap.process.launch import Redirect, launch
from gotap.signals.batch import Coded, Texts
from gotap.sinks.terminal import LiveTable, open_terminal

sink = open_terminal(pane=True)
assert isinstance(sink, LiveTable)
made = random_spans(1, 40)
made.end = made.start + np.uint64(2_000_000)
made.name = Coded(np.zeros(40, np.int32), ["GET /\\x1b]0;owned\\x07{id}"])
made.attributes = {"url.path": Texts([b"/\\x1b[2Jcleared"] * 40)}
with launch(["sh", "-c", "printf '\\\\033[31mbad\\\\033[5nnews\\\\n'; exit 3"], stdout=Redirect.PANE) as program:
    sink.watch_output(program.output)
    code = program.wait()
print("gotap: a message", file=sys.stderr)
sink.export(made)
sink.flush(several=False)
sink.close(5)
sink.close(5)
print(f"gotap: closed, {code}", file=sys.stderr)
"""


def on_terminal(code: str, *, rows: int = 30, columns: int = 100, environment: dict[str, str] | None = None) -> bytes:
    """Everything that a Python running `code` writes to a terminal of that size."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    paths = {"PYTHONPATH": str(HELPERS), "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=os.environ | paths | (environment or {}),
    )
    os.close(terminal)
    received = b""
    try:
        while select.select([main], [], [], PATIENCE)[0]:
            try:
                received += os.read(main, 65536)
            except OSError:
                break
    finally:
        child.kill()
        assert child.wait() == 0, received.decode("utf-8", "replace")
        os.close(main)
    return received


def test_screen_is_taken_and_given_back_and_what_counts_stays() -> None:
    received = on_terminal(SESSION).decode()
    assert received.count("\x1b[?1049h") == received.count("\x1b[?1049l") == 1
    assert received.count("\x1b[?25l") == received.count("\x1b[?25h") == 1
    during, after = received.split("\x1b[?1049l")
    assert "latest spans" in during
    assert "latest spans" not in after
    for text in ("gotap: a message", "badnews"):
        assert after.count(text) == 1
    assert "40 operations" in after
    assert after.rstrip().endswith("gotap: closed, 3")


def test_nothing_hostile_reaches_the_terminal() -> None:
    received = on_terminal(SESSION).decode()
    for hostile in ("\x1b]0;", "\x1b[2Jcleared", "\x1b[5n"):
        assert hostile not in received
    assert "\\x1b]0;owned\\x07" in received


@pytest.mark.parametrize(("rows", "columns"), [(8, 40), (24, 80), (60, 200)])
def test_lines_are_no_wider_than_the_window(rows: int, columns: int) -> None:
    during = on_terminal(SESSION, rows=rows, columns=columns).decode().split("\x1b[?1049l")[0].split("\x1b[?1049h")[1]
    for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", during).splitlines():
        assert len(line) <= columns


def test_no_colour_when_none_is_wanted() -> None:
    received = on_terminal(SESSION, environment={"NO_COLOR": "1"}).decode()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", received)
    assert "40 operations" in received


def test_dumb_terminal_gets_lines() -> None:
    code = "from gotap.sinks.terminal import open_terminal; print(type(open_terminal()).__name__)"
    assert on_terminal(code, environment={"TERM": "dumb"}).split() == [b"Lines"]


def test_screen_is_given_back_when_gotap_ends_by_an_error() -> None:
    code = "from gotap.sinks.terminal import open_terminal\nsink = open_terminal(); sink.start(); exit(0)"
    received = on_terminal(code)
    assert received.count(b"\x1b[?1049h") == received.count(b"\x1b[?1049l")


def test_pipe_gets_lines(capfd: pytest.CaptureFixture[str]) -> None:
    assert not is_live()
    assert isinstance(open_terminal(pane=True), Lines)
