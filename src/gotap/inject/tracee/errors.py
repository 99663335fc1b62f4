"""Why a process cannot be stopped, or made to call the kernel; one type per cause."""

from __future__ import annotations

import errno
import os

from gotap.errors import GotapError


class TraceeError(GotapError):
    """Any failure to stop a process, or to act in it."""


class CannotTrace(TraceeError):
    """The kernel refuses ptrace: another user's, not dumpable, Yama, a security module, a seccomp profile."""


class AlreadyTraced(TraceeError):
    """Another process traces it, and there can be only one tracer."""


class WrongArchitecture(TraceeError):
    """It, or gotap, does not run as 64-bit x86 code."""


class Frozen(TraceeError):
    """Its cgroup is frozen: it would answer only when it is thawed."""


class NotStopping(TraceeError):
    """A thread did not come to a stop in time: it sleeps in the kernel where nothing wakes it."""


class ProgramChanged(TraceeError):
    """It became another program (execve) while it was stopped or called."""


class NoPlaceToCall(TraceeError):
    """No thread can make a system call for gotap: none has room on its stack, or the code for it is missing."""


class CallForbidden(TraceeError):
    """Its seccomp filter would not let the system call pass, or might end the process for it."""


class CallFailed(TraceeError):
    """The kernel refused a system call that the process made for gotap; `number` is the errno, `index` which call."""

    def __init__(self, name: str, number: int, index: int, pid: int) -> None:
        text = os.strerror(number)
        super().__init__(f"process {pid} may not call {name} for gotap: {text}", _REMEDIES.get(number, ""))
        self.number, self.index = number, index


class CallUnfinished(TraceeError):
    """A system call that the process made for gotap did not return in time, and was interrupted."""


class MemoryRefused(TraceeError):
    """Memory of the process is not mapped, or cannot be written."""


_REMEDIES = {
    errno.EPERM: "a seccomp filter or a security module of the process forbids it; --via uprobe needs no such call",
    errno.EACCES: "a security module forbids executable memory (SELinux: execmem); --via uprobe needs none",
    errno.ENOMEM: "it is at its limit of memory or mappings (RLIMIT_AS, its cgroup, vm.max_map_count): raise that",
    errno.EMFILE: "it has as many files open as it may: raise its limit (`prlimit --nofile`)",
    errno.ENFILE: "the host has as many files open as it may: raise fs.file-max",
    errno.EEXIST: "another mapping has been made there meanwhile: try again",
    errno.ENOSYS: "its seccomp filter or its kernel does not know this call; --via uprobe needs none",
    errno.ENOSPC: "the cgroup or tmpfs has no room left: raise its limit",
}
