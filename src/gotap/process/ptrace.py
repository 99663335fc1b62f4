"""ptrace(2) as far as holding a program at its exec needs it. All calls must come from the thread that seized."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

# include/uapi/linux/ptrace.h
_CONT = 7
_DETACH = 17
_SEIZE = 0x4206
_LISTEN = 0x4208
_O_TRACEEXEC = 1 << 4
EVENT_EXEC = 4
EVENT_STOP = 128


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(request, pid, None, ctypes.c_void_p(data)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def seize(pid: int) -> None:
    """Traces without stopping; the next execve ends in EVENT_EXEC.

    Not PTRACE_TRACEME: its exec stop is the delivery of a SIGTRAP, which kills the program if the tracer dies during
    it. An event stop delivers nothing, and without PTRACE_O_EXITKILL the kernel resumes the program then.
    """
    _ptrace(_SEIZE, pid, _O_TRACEEXEC)


def resume(pid: int, signal: int = 0) -> None:
    """Continues; from the stop at a signal's delivery, with that signal."""
    _ptrace(_CONT, pid, signal)


def listen(pid: int) -> None:
    """Leaves a job-control stop in force until SIGCONT."""
    _ptrace(_LISTEN, pid)


def detach(pid: int) -> None:
    """Lets go of it, from an event stop. Signals that came meanwhile are pending and get delivered."""
    _ptrace(_DETACH, pid)


def event(status: int) -> int:
    """The PTRACE_EVENT of a wait status, 0 for the delivery of a signal."""
    return status >> 16
