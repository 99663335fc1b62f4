"""Processes for the tests to look at, and waiting for what they come to do, without guessing how long it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 20.0  # seconds after which a test gives up


def eventually(look: Callable[[], T], what: str) -> T:
    """What `look` returns once that is true; raises AssertionError, naming `what`, when it never becomes so."""
    limit = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < limit, f"{what} did not come within {PATIENCE:.0f} s"
        os.sched_yield()
        time.sleep(0.002)
    return found


@contextmanager
def running(*arguments: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A child that is killed and waited for at the end; its stdin and stdout are pipes of text."""
    child = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def python(code: str, *arguments: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A Python that runs `code`; it has come as far as the code's first output when a line of stdout is read."""
    with running(sys.executable, "-c", code, *arguments, **options) as child:
        yield child
