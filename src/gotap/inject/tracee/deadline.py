"""A limit for blocking waits: a POSIX timer that interrupts this thread, so that nothing has to poll."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import struct
import threading
import time
from types import TracebackType

from gotap.process import ptrace

_libc = ctypes.CDLL(None, use_errno=True)

#: Python and libraries leave the last real-time signal alone.
_SIGNAL = signal.SIGRTMAX
_SIGEV_THREAD_ID = 4  # include/uapi/asm-generic/siginfo.h
#: After the limit the timer goes on, for a signal may come between a look at the clock and the wait.
_AGAIN = 0.02


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
        _check(_libc.timer_settime(self._timer, 0, struct.pack("=qqqq", *_split(_AGAIN), *_split(self._seconds)), None))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        _libc.timer_delete(self._timer)

    @property
    def has_passed(self) -> bool:
        return time.monotonic() >= self._end

    def wait_for_stop(self, thread: int) -> ptrace.Stop:
        """Raises ptrace.Ended, TimedOut."""
        while (stop := ptrace.wait_for_stop(thread)) is None:
            if self.has_passed:
                raise TimedOut
        return stop


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
