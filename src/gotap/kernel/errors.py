"""What the kernel can refuse, one type per cause; each says what happened, why, and what to do about it."""

from __future__ import annotations

import errno
import os

from gotap.errors import GotapError


def errno_text(number: int) -> str:
    """`EPERM: Operation not permitted`; ENOTSUPP (524) never was for user space, yet uprobes return it."""
    if number == ENOTSUPP:
        return "ENOTSUPP: Operation is not supported"
    return f"{errno.errorcode.get(number, f'errno {number}')}: {os.strerror(number)}"


#: include/linux/errno.h; returned by uprobe registration when the bytes at the site cannot be probed.
ENOTSUPP = 524


class KernelError(GotapError):
    """A system call refused; `errno` is the kernel's number, 0 when the cause is not a system call's."""

    def __init__(self, message: str, remedy: str = "", *, errno: int = 0) -> None:
        super().__init__(message, remedy)
        self.errno = errno


class BpfDeniedError(KernelError):
    """bpf(2) is not allowed for this process at all."""


class BpfMissingError(KernelError):
    """This kernel has no bpf(2), or not the command, map or program type that is asked for."""


class MapError(KernelError):
    """A map could not be made, or an operation on it failed."""


class VerifierError(KernelError):
    """The kernel's verifier refused a program; `log` is what it wrote, newest lines last."""

    def __init__(self, message: str, remedy: str = "", *, errno: int = 0, log: str = "") -> None:
        super().__init__(message, remedy, errno=errno)
        self.log = log


class AttachError(KernelError):
    """A program could not be attached; the subclasses name the causes that a person can tell apart."""


class AttachDeniedError(AttachError):
    """EPERM or EACCES: a capability is missing."""


class AttachUnsupportedError(AttachError):
    """The kernel has no uprobes, or not the kind that is asked for."""


class TargetGoneError(AttachError):
    """The process ended before the probes were in place."""


class ImageGoneError(AttachError):
    """The executable's path leads to no regular file."""


class CodeChangedError(AttachError):
    """The process has other code at a site than its executable: somebody has patched it."""


class BadSiteError(AttachError):
    """The kernel refuses a probe at this file offset; `offset` names it, None when it cannot be told which."""

    def __init__(self, message: str, remedy: str = "", *, errno: int = 0, offset: int | None = None) -> None:
        super().__init__(message, remedy, errno=errno)
        self.offset = offset
