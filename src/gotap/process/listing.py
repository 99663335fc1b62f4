"""All processes that run a program, for lists of them."""

from __future__ import annotations

from collections.abc import Iterator

from gotap.process.errors import ProcessError
from gotap.process.find import pids
from gotap.process.proc import Process


def list_processes() -> Iterator[Process]:
    """Those that this user can see, ascending, without kernel threads and what has ended.

    One at a time: each is closed when the next is asked for, so that a host of thousands costs one descriptor.
    """
    for pid in sorted(pids()):
        try:
            process = Process(pid)
        except ProcessError:
            continue
        with process:
            yield process
