"""Puts a program on places of an executable: one uprobe_multi link (Linux 6.6), perf_event uprobes before.

Only the process that is named gets breakpoints, in all its threads; its later forks do not count. All links die with
their descriptor, so a killed gotap leaves the process's text as it was.

Which way is taken is a property of the program: the verifier wants to know at load (`attach_type`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from gotap.bpf.enums import AttachType
from gotap.bpf.machine import HasFeatures, Site
from gotap.kernel import syscalls
from gotap.kernel.bpf import Program
from gotap.kernel.errors import (
    ENOTSUPP,
    AttachDeniedError,
    AttachError,
    AttachUnsupportedError,
    BadSiteError,
    ImageGoneError,
    TargetGoneError,
    errno_text,
)
from gotap.kernel.patched import check_code
from gotap.kernel.pool import Pool

#: Links that are closed at once.
_CLOSING = 64
#: Seconds between two calls of what is done meanwhile: a ring of 4 MiB holds 8,000 records of a server.
_MEANWHILE = 0.02

_PMU = "/sys/bus/event_source/devices/uprobe/type"
_RETURN_BIT = "/sys/bus/event_source/devices/uprobe/format/retprobe"
#: What uprobe registration answers when it does not like the bytes or the place (kernel/events/uprobes.c,
#: arch/x86/kernel/uprobes.c): outside the file, undecodable, a prefix or instruction it cannot handle, a breakpoint.
_BAD_SITE = {errno.EINVAL, errno.ENOEXEC, errno.EIO, errno.EOPNOTSUPP, ENOTSUPP}


def attach_type(features: HasFeatures) -> AttachType:
    """What a program must be loaded for, so that `attach_uprobes` takes the way this kernel offers."""
    return AttachType.UPROBE_MULTI if features.has("uprobe_multi") else AttachType.NONE


class Link:
    """Holds probes in place until it is closed."""

    def __init__(self, descriptors: Sequence[int], sites: int) -> None:
        self._descriptors = list(descriptors)
        self.sites = sites

    def close(self) -> None:
        """Removes the breakpoints; the original bytes are back when it returns. Harmless when done twice."""
        close_all([self])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.close()


def close_all(links: Sequence[Link], meanwhile: Callable[[], None] | None = None) -> None:
    """Closes many links side by side: each waits for grace periods of its own (50 ms, perf_event uprobes 130 ms), yet
    ten at once take 80 ms. On a busy host it can be seconds: `meanwhile` is called again and again until then.
    """
    descriptors = [fd for link in links for fd in link._descriptors]
    for link in links:
        link._descriptors = []
    if len(descriptors) == 1 and meanwhile is None:
        os.close(descriptors[0])
        return
    with Pool(_CLOSING, "gotap-detach") as pool:
        calls = [pool.start(partial(os.close, fd)) for fd in descriptors]
        if meanwhile is not None:
            for call in calls:
                while not call.wait(_MEANWHILE):
                    meanwhile()
    for call in calls:
        call.result()


def attach_uprobes(program: Program, path: str, sites: Sequence[Site], *, pid: int, features: HasFeatures,
                   returns: bool = False) -> Link:
    """`path` leads to the file that the process runs: /proc/PID/exe also does when the file was deleted or lies in
    another mount namespace. `pid` is the process as this one sees it, 0 every process that maps the file.

    `program` must have been loaded with `attach_type(features)`. All sites or none: AttachError's subclasses say why
    not. A site that is not the start of an instruction is not noticed by the kernel: the caller has to know. Code that
    somebody has changed is not noticed either, but here: CodeChangedError.

    `returns`: the program runs when the functions at the sites return. The kernel does it by changing return addresses
    on the stack, which kills Go programs: they move their stacks and read what is on them.
    """
    if not sites:
        return Link((), 0)
    if pid:
        check_code(path, sites, pid)
    if features.has("uprobe_multi"):
        return _attach_multi(program, path, sites, pid, returns)
    return _attach_perf(program, path, sites, pid, returns)


def _attach_multi(program: Program, path: str, sites: Sequence[Site], pid: int, returns: bool) -> Link:
    try:
        return Link([syscalls.link_create_uprobe_multi(program.fd, path, sites, pid, returns=returns)], len(sites))
    except OSError as error:
        offset = sites[0][0]
        if error.errno in _BAD_SITE and len(sites) > 1:
            culprit = _culprit(program, path, sites, pid)
            raise _refused(error, path, pid, culprit) from error
        raise _refused(error, path, pid, offset) from error


def _culprit(program: Program, path: str, sites: Sequence[Site], pid: int) -> int | None:
    """File offset of a site that the kernel refuses, found by halving; None when each half alone is accepted."""
    while len(sites) > 1:
        for part in (sites[: len(sites) // 2], sites[len(sites) // 2 :]):
            try:
                os.close(syscalls.link_create_uprobe_multi(program.fd, path, part, pid))
            except OSError:
                sites = part
                break
        else:
            return None
    return sites[0][0]


def uprobe_pmu() -> int:
    """Number of the `uprobe` PMU; AttachUnsupportedError when the kernel has none (before 4.17, or not built in)."""
    try:
        with open(_PMU) as file:
            return int(file.read())
    except (OSError, ValueError) as error:
        raise AttachUnsupportedError(f"this kernel offers no uprobes: {_PMU} cannot be read",
                                     "use a kernel with CONFIG_UPROBE_EVENTS=y, and mount /sys") from error


def _return_bit() -> int:
    """What `config` asks for returns with: the file says `config:0`."""
    try:
        with open(_RETURN_BIT) as file:
            return 1 << int(file.read().strip().removeprefix("config:"))
    except (OSError, ValueError) as error:
        raise AttachUnsupportedError(f"this kernel offers no probes of returns: {_RETURN_BIT} cannot be read",
                                     "probe the function's entry") from error


def _attach_perf(program: Program, path: str, sites: Sequence[Site], pid: int, returns: bool) -> Link:
    pmu, config = uprobe_pmu(), _return_bit() if returns else 0
    with contextlib.ExitStack() as undo:
        descriptors: list[int] = []
        undo.callback(lambda: Link(descriptors, 0).close())
        for offset, cookie in sites:
            try:
                event = syscalls.perf_event_open_uprobe(pmu, path, offset, pid or -1, config)
                descriptors.append(event)
                link = link_perf(program, event, cookie)
            except OSError as error:
                raise _refused(error, path, pid, offset) from error
            if link is not None:
                descriptors.insert(0, link)
        undo.pop_all()
        return Link(descriptors, len(sites))


def link_perf(program: Program, event: int, cookie: int) -> int | None:
    """Makes a perf event run the program; a link, None where the event itself holds it. Raises OSError."""
    try:
        return syscalls.link_create_perf(program.fd, event, cookie)
    except OSError as error:
        if error.errno != errno.EINVAL or cookie:
            raise
    syscalls.perf_set_bpf(event, program.fd)  # kernels before 5.15, which have no cookies either
    return None


def _refused(error: OSError, path: str, pid: int, offset: int | None) -> AttachError:
    number = error.errno or 0
    reason = errno_text(number)
    if number == errno.ESRCH or (pid and not os.path.exists(f"/proc/{pid}/stat")):
        return TargetGoneError(f"cannot attach to PID {pid}: the process has ended", "start it again", errno=number)
    if number in (errno.EPERM, errno.EACCES):
        return AttachDeniedError(f"cannot attach to {_target(path, pid)}: the kernel does not allow it ({reason})",
                                 "run gotap as root, or give it CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE",
                                 errno=number)
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP, errno.EISDIR):
        return ImageGoneError(f"cannot attach to {_target(path, pid)}: the path leads to no regular file ({reason})",
                              "name the executable as /proc/PID/exe", errno=number)
    if number in _BAD_SITE:
        place = "one of its sites" if offset is None else f"file offset {offset:#x}"
        return BadSiteError(
            f"cannot attach to {_target(path, pid)}: the kernel cannot probe {place} ({reason}): it lies outside the "
            "file, or is not the start of an instruction that uprobes can handle",
            "this is a bug of gotap unless the file was overwritten in place", errno=number, offset=offset)
    if number == errno.EMFILE:
        return AttachError(f"cannot attach to {_target(path, pid)}: too many open files", "raise `ulimit -n`",
                           errno=number)
    return AttachError(f"cannot attach to {_target(path, pid)}: {reason}", errno=number)


def _target(path: str, pid: int) -> str:
    return f"PID {pid}" if pid else path
