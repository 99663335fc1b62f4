"""Whether a thread may be made to call the kernel: a call that its seccomp filters forbid may end the process.

Who may, reads the filters and follows them. Who may not, as a user in a container, has most likely the same ones: those
of the container. Then a child of gotap's makes the call first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import warnings
from collections.abc import Sequence

from gotap.inject.tracee import filters
from gotap.inject.tracee.errors import CallForbidden
from gotap.process import ptrace
from gotap.process.errors import unreadable
from gotap.process.privileges import read_status
from gotap.process.proc import read_file
from gotap.process.stat import parse_status

_libc = ctypes.CDLL(None, use_errno=True)
_STRICT = 1
_RT_SIGRETURN = 15
_REMEDY = "use --via uprobe, which makes no call in the process"


class Guard:
    """Of one thread, which has to stand when it is asked. `at`: the address behind its `syscall` instruction.

    Raises CallForbidden where no call at all may be made, and ProcessGone.
    """

    def __init__(self, pid: int, thread: int, at: int) -> None:
        self._pid, self._thread, self._at = pid, thread, at
        try:
            fields = parse_status(read_file(f"/proc/{pid}/task/{thread}/status"))
        except OSError as error:
            raise unreadable(pid, "its status", error) from None
        self._status = read_status(fields, thread)
        if has_shadow_stack(fields):
            raise CallForbidden(f"process {pid} has a shadow stack, which forbids returns that it did not see", _REMEDY)
        self._filters: list[tuple[filters.Instruction, ...]] | None = None
        if self._status.seccomp == _STRICT:
            raise CallForbidden(f"process {pid} is in seccomp's strict mode: any call would end it", _REMEDY)
        if self._status.seccomp:
            self._filters = self._read()
            self._check_way_back()

    def check(self, name: str, number: int, arguments: Sequence[int]) -> None:
        """Raises CallForbidden. A filter that makes the call fail is no reason: it then fails."""
        if not self._status.seccomp:
            return
        if self._filters is None:
            forbidden = _ends_child(number, arguments)
        else:
            forbidden = filters.answer(self._filters, number, arguments, self._at) in filters.DEADLY
        if forbidden:
            raise CallForbidden(f"a seccomp filter of process {self._pid} would end it when it calls {name}", _REMEDY)

    def _read(self) -> list[tuple[filters.Instruction, ...]] | None:
        """None if gotap may not read them and has the same, as far as can be told. Raises CallForbidden."""
        found: list[tuple[filters.Instruction, ...]] = []
        try:
            while (content := ptrace.seccomp_filter(self._thread, len(found))) is not None:
                found.append(filters.parse(content))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL):
                raise
            own = read_status(parse_status(read_file("/proc/self/status")), 0)
            if own.seccomp and own.filters is not None and own.filters == self._status.filters:
                return None
            raise CallForbidden(
                f"process {self._pid} has seccomp filters that gotap may not read, and a call that they forbid might "
                "end it",
                "run gotap as root outside the container, or in the same container; or use --via uprobe",
            ) from None
        return found

    def _check_way_back(self) -> None:
        if self._filters is not None and filters.answer(self._filters, _RT_SIGRETURN, (), self._at) != filters.ALLOW:
            raise CallForbidden(f"a seccomp filter of process {self._pid} lets no signal handler return", _REMEDY)


def has_shadow_stack(fields: dict[str, list[str]]) -> bool:
    """By the fields of /proc/PID/task/TID/status; Linux ≥ 6.6 on processors with CET."""
    return "shstk" in fields.get("x86_Thread_features", ())


def _ends_child(number: int, arguments: Sequence[int]) -> bool:
    """Whether a child with gotap's own filters is ended by SIGSYS for the call; what the call does is the child's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as in process/launch.py
        child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGSYS, signal.SIG_DFL)
            _libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS
