"""tracefs: which tracepoints this kernel has, their numbers and the fields of their records.

Where it is not mounted, it is mounted for this process alone: fsopen(2) and fsmount(2) (Linux 5.2) give a descriptor of
a mount that has no place in the tree, which nobody sees and which is gone when the descriptor is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from types import TracebackType
from typing import Self

from gotap.kernel import host
from gotap.kernel.errors import KernelError, errno_text
from gotap.probe.script.tracepoint import FieldInfo, parse_format

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

#: The same on all architectures but alpha (include/uapi/asm-generic/unistd.h).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
_CMD_CREATE = 6  # FSCONFIG_CMD_CREATE

#: Names as the kernel builds directories of them; anything else is no tracepoint and never becomes part of a path.
_NAME = re.compile(r"\w+", re.ASCII)
_MAX_FORMAT = 1 << 20
_REMEDY = "mount -t tracefs tracefs /sys/kernel/tracing, and run gotap as root"


class TracefsError(KernelError):
    """tracefs can neither be found nor mounted, or does not let this process read it."""


class NoTracepoint(KernelError):
    """The kernel has no tracepoint of this name; `similar` are names that it has, as CATEGORY:NAME."""

    def __init__(self, message: str, remedy: str, *, similar: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy, errno=errno.ENOENT)
        self.similar = similar


class Tracefs:
    """The `events` directory, held open. TracefsError when there is no way to it."""

    def __init__(self) -> None:
        self._events = _open_events()

    def tracepoints(self) -> list[str]:
        """All of them as CATEGORY:NAME, sorted; 5 to 20 ms."""
        return sorted(f"{category}:{name}" for category in self._names(".") for name in self._names(category))

    def fields(self, category: str, name: str) -> dict[str, FieldInfo]:
        """The record's own fields, in their order. NoTracepoint."""
        return parse_format(self._read(category, name, "format"))

    def number(self, category: str, name: str) -> int:
        """What perf_event_open(2) calls it. NoTracepoint."""
        return int(self._read(category, name, "id"))

    def _read(self, category: str, name: str, file: str) -> str:
        if not _NAME.fullmatch(category) or not _NAME.fullmatch(name):
            raise self._missing(category, name)
        try:
            descriptor = os.open(f"{category}/{name}/{file}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._events)
        except FileNotFoundError:
            raise self._missing(category, name) from None
        except OSError as error:
            raise TracefsError(f"the tracepoint {category}:{name} cannot be read ({errno_text(error.errno or 0)})",
                               _REMEDY, errno=error.errno or 0) from error
        with open(descriptor, "rb") as opened:
            return opened.read(_MAX_FORMAT).decode("utf-8", "replace")

    def _names(self, category: str) -> list[str]:
        """What is a directory in there: categories, or the tracepoints of one."""
        with contextlib.suppress(OSError):
            directory = os.open(category, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._events)
            try:
                with os.scandir(directory) as entries:
                    return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            finally:
                os.close(directory)
        return []

    def _missing(self, category: str, name: str) -> NoTracepoint:
        import difflib  # for this message alone

        known = self.tracepoints()
        wanted = f"{category}:{name}"
        similar = [one for one in known if one.endswith(f":{name}")]
        similar += [one for one in difflib.get_close_matches(wanted, known, 3, 0.75) if one not in similar]
        listed = "`gotap trace -l 'tracepoint:*'` lists them"
        remedy = f"did you mean {' or '.join(similar[:3])}?" if similar else listed
        return NoTracepoint(f"this kernel has no tracepoint {wanted}", remedy, similar=tuple(similar[:3]))

    def close(self) -> None:
        if self._events >= 0:
            os.close(self._events)
            self._events = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.close()


def tracepoint_fields(category: str, name: str) -> dict[str, FieldInfo]:
    """The fields of one tracepoint's record by name. NoTracepoint, TracefsError."""
    with Tracefs() as tracefs:
        return tracefs.fields(category, name)


def syscall_tracepoint(name: str) -> tuple[str, str]:
    """(category, name) of the tracepoint at the entry of a system call."""
    return "syscalls", f"sys_enter_{name}"


def _open_events() -> int:
    place = host.mount_point("tracefs")
    if place is not None:
        with contextlib.suppress(OSError):  # hidden by another mount, or not for this user
            return os.open(f"{place}/events", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount = _mount()
        try:
            return os.open("events", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        finally:
            os.close(mount)
    except OSError as error:
        number = error.errno or 0
        raise TracefsError(f"tracefs is not mounted and cannot be ({errno_text(number)}): tracepoints are out of reach",
                           _REMEDY, errno=number) from error


def _mount() -> int:
    """A descriptor of the root of a mount of tracefs that has no place. Raises OSError."""
    context = _call(_FSOPEN, ctypes.c_char_p(b"tracefs"), ctypes.c_uint(_CLOEXEC))
    try:
        _call(_FSCONFIG, ctypes.c_int(context), ctypes.c_uint(_CMD_CREATE), None, None, ctypes.c_int(0))
        return _call(_FSMOUNT, ctypes.c_int(context), ctypes.c_uint(_CLOEXEC), ctypes.c_uint(0))
    finally:
        os.close(context)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
