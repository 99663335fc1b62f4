"""What can go wrong with a process that is looked at or started, one type per cause."""

from __future__ import annotations

import errno
import os

from gotap.errors import GotapError


class ProcessError(GotapError):
    """Any failure to see, find or start a process."""


class ProcessGone(ProcessError):
    """There is no such process, or it ended while it was looked at, or its pid belongs to another one by now."""


class NotPermitted(ProcessError):
    """The kernel does not show this process to this user."""


class NoDescriptors(ProcessError):
    """gotap has as many files open as it may."""


class NotAProgram(ProcessError):
    """A thread's id, or a kernel thread: nothing that has an executable of its own."""


class NoSuchName(ProcessError):
    """No process has this name."""


class NotRunning(ProcessError):
    """No process executes this file."""


class UnexpectedText(ProcessError):
    """A file of /proc does not read as the kernel writes it: cut off, or of a kernel that differs."""

    def __init__(self, name: str) -> None:
        super().__init__(f"/proc/PID/{name} does not read as the kernel writes it", "try again, or update gotap")


class LaunchError(ProcessError):
    """The program was not started; `exit_code` is what a shell would exit with (127 not found, 126 cannot execute)."""

    def __init__(self, message: str, remedy: str, *, exit_code: int) -> None:
        super().__init__(message, remedy)
        self.exit_code = exit_code


class CannotHold(ProcessError):
    """ptrace is refused, so a program cannot be held before its first instruction."""


def gone(pid: int) -> ProcessGone:
    return ProcessGone(
        f"process {pid} is gone: it has ended, or there never was one", "`ps` lists the processes that run"
    )


def unreadable(pid: int, what: str, error: OSError) -> ProcessError:
    """The cause of an error of the system when `what` of a process was to be opened or read."""
    if isinstance(error, PermissionError):
        return not_permitted(pid, what)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return NoDescriptors(f"cannot read {what} of process {pid}: {error.strerror}", "raise `ulimit -n`")
    return gone(pid)  # ENOENT or ESRCH


def not_permitted(pid: int, what: str) -> NotPermitted:
    if os.geteuid() == 0:
        user = "root"
        remedy = (
            "in a container, start it with --pid=host and --cap-add=SYS_PTRACE; else a security module (AppArmor, "
            "SELinux, Landlock) or another user namespace protects that process"
        )
    else:
        user = f"uid {os.geteuid()}"
        remedy = "run gotap as root, or give it CAP_SYS_PTRACE; in a container, share the host's pid namespace"
    return NotPermitted(f"the kernel does not let {user} read {what} of process {pid}", remedy)
