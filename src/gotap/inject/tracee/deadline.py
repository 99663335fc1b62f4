"""A limit for blocking waits: a POSIX timer that interrupts this thread, so that nothing has to poll."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

from gotap.process import ptrace
from gotap.process.proc import read_file
from gotap.process.stat import parse_status

_libc = ctypes.PyDLL(None, use_errno=True)  # as in process/ptrace.py

#: Python and libraries leave the last real-time signal alone.
_SIGNAL = signal.SIGRTMAX
_SIGEV_THREAD_ID = 4  # include/uapi/asm-generic/siginfo.h
#: The timer comes again and again: once may be between a look at the clock and the wait.
_TICK = 0.01


class TimedOut(Exception):
    """The limit has passed."""


class Deadline:
    """A context; within it `wait_for_stop` waits at most until `seconds` after its begin."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = 0.0
        self._timer = ctypes.c_void_p()

    def __enter__(self) -> Deadline:
        _install()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (_SIGNAL,))
        self._end = time.monotonic() + self._seconds
        event = ctypes.create_string_buffer(
            struct.pack("=QiiI", 0, _SIGNAL, _SIGEV_THREAD_ID, threading.get_native_id()), 64
        )
        _check(_libc.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(self._timer)))
        _check(_libc.timer_settime(self._timer, 0, struct.pack("=qqqq", *_split(_TICK), *_split(_TICK)), None))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        _libc.timer_delete(self._timer)

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._end

    def wait_for_stop(self, thread: int, meanwhile: Callable[[], None] | None = None) -> ptrace.Stop:
        """Raises ptrace.Ended, TimedOut. `meanwhile` is called now and then when it takes long.

        A child that is no tracee any more, since another thread of it called execve, would be waited for until it ends.
        """
        while (stop := ptrace.wait_for_stop(thread)) is None:
            if tracer_of(thread) != threading.get_native_id():
                raise ptrace.Ended(thread)
            if self.has_passed:
                raise TimedOut
            if meanwhile:
                meanwhile()
        return stop

    def wait_a_little(self, thread: int) -> None:
        """Until that thread stops or ends, or 10 ms have passed."""
        with contextlib.suppress(ptrace.Ended):
            ptrace.wait_for_stop(thread)


def tracer_of(thread: int) -> int:
    """The thread that traces it, by our pid namespace; 0 for none, or when it has ended."""
    try:
        return int(parse_status(read_file(f"/proc/{thread}/status"))["TracerPid"][0])
    except (OSError, KeyError, IndexError, ValueError):
        return 0


@functools.cache
def _install() -> None:
    """A handler that does nothing, in C and without SA_RESTART: Python's are for the main thread only and restart."""
    does_nothing = ctypes.cast(_libc.abs, ctypes.c_void_p).value
    # struct sigaction of glibc and musl: sa_handler, sa_mask, sa_flags, sa_restorer.
    _check(_libc.sigaction(_SIGNAL, struct.pack("=Q128xi4xQ", does_nothing, 0, 0), None))


def _split(seconds: float) -> tuple[int, int]:
    return int(seconds), int(seconds % 1 * 1e9)


def _check(answer: int) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
