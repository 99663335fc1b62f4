"""What attaching needs to know of a process."""

from __future__ import annotations

from msgspec import Struct


class Executable(Struct, frozen=True):
    """`path` leads to the very file the process runs, as /proc/PID/exe does."""

    pid: int  # as gotap sees it
    tgid: int | None  # in the initial pid namespace, None when gotap runs in another one
    path: str
    bias: int
