"""Writing to readers that may be slow, or read nothing at all: waiting for them can be ended."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Callable

#: Whether waiting is to end.
Stop = Callable[[], bool]

#: A pipe that poll calls writable takes that much without blocking (PIPE_BUF; POSIX, write).
_CHUNK = select.PIPE_BUF

#: Milliseconds between two looks at `stop`.
_LOOK = 100


def never() -> bool:
    return False


def write_some(descriptor: int, content: memoryview, stop: Stop = never) -> int:
    """Writes a part of `content`, waits for room if there is none, and returns the part's length; 0: once more.

    Raises OSError, and TimeoutError when there is no room and `stop` says that nobody will wait any longer.
    """
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.write(descriptor, content)  # in one piece, so that writers who append do not mix
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    while not poll.poll(_LOOK):
        if stop():
            raise TimeoutError(errno.ETIMEDOUT, "its reader does not read")
    try:
        return os.write(descriptor, content[:_CHUNK])
    except BlockingIOError:  # somebody made the pipe we were given non-blocking
        return 0
