"""Routines that run elsewhere than at sites of the target: at times, at tracepoints of the kernel, in C programs.

`begin`, `end` and `interval` are raw tracepoint programs that are attached to nothing: BPF_PROG_TEST_RUN (Linux 5.10)
runs them when their time has come, so that statements have one implementation. `profile` is a clock event on each CPU;
what runs at its firings is looked at in the program.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence

from gotap.bpf.machine import HasFeatures
from gotap.kernel import syscalls
from gotap.kernel.attach import Link, attach_uprobes, link_perf
from gotap.kernel.bpf import Program
from gotap.kernel.errors import AttachDeniedError, AttachError, errno_text
from gotap.kernel.tracefs import Tracefs, syscall_tracepoint
from gotap.probe.script.bound import Origin

_ONLINE = "/sys/devices/system/cpu/online"
_MAX_RATE = "/proc/sys/kernel/perf_event_max_sample_rate"
_CAPABILITIES = "run gotap as root, or give it CAP_BPF and CAP_PERFMON"

def attach_origin(program: Program, origin: Origin, *, pid: int, features: HasFeatures, user_only: bool) -> Link:
    """Puts the program where its origin says; AttachError, NoTracepoint, TracefsError.

    `pid`: of C functions, 0 every process. `user_only`: a profile does not fire while a CPU is in the kernel.
    """
    match origin.kind:
        case "profile":
            return _attach_clock(program, origin, user_only)
        case "tracepoint":
            return _attach_tracepoint(program, origin.category, origin.name, origin.cookie)
        case "syscall":
            return _attach_tracepoint(program, *syscall_tracepoint(origin.name), origin.cookie)
        case "uprobe":
            return attach_uprobes(program, origin.path, [(origin.file_offset, origin.cookie)], pid=pid,
                                  features=features, returns=origin.returns)  # fmt: skip
        case _:
            return Link((), 0)


def _attach_tracepoint(program: Program, category: str, name: str, cookie: int) -> Link:
    with Tracefs() as tracefs:
        number = tracefs.number(category, name)
    what = f"the tracepoint {category}:{name}"
    with contextlib.ExitStack() as undo:
        try:
            event = syscalls.perf_event_open_tracepoint(number)
            undo.callback(os.close, event)
            link = link_perf(program, event, cookie)
        except OSError as error:
            raise _refused(what, error) from error
        undo.pop_all()
    return Link(_with(link, [event]), 1)


def _attach_clock(program: Program, origin: Origin, user_only: bool) -> Link:
    descriptors: list[int] = []
    with contextlib.ExitStack() as undo:
        undo.callback(lambda: Link(descriptors, 0).close())
        for cpu in online_cpus():
            try:
                event = syscalls.perf_event_open_clock(cpu, origin.hertz, user_only=user_only)
                descriptors.append(event)
                link = link_perf(program, event, origin.cookie)
            except OSError as error:
                if error.errno == errno.ENODEV:  # taken offline meanwhile
                    continue
                raise _refused(f"profile:{origin.hertz}hz", error) from error
            descriptors = _with(link, descriptors)
        undo.pop_all()
    return Link(descriptors, 1)


def _with(link: int | None, events: Sequence[int]) -> list[int]:
    """Links are closed before their events."""
    return [*events] if link is None else [link, *events]


def online_cpus() -> list[int]:
    """`0-3,5`."""
    with open(_ONLINE) as file:
        ranges = [part.partition("-") for part in file.read().strip().split(",") if part]
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]


def _refused(what: str, error: OSError) -> AttachError:
    number = error.errno or 0
    reason = errno_text(number)
    if number in (errno.EPERM, errno.EACCES):
        return AttachDeniedError(f"cannot attach to {what}: the kernel does not allow it ({reason})", _CAPABILITIES,
                                 errno=number)
    if number == errno.EINVAL and what.startswith("profile"):
        with contextlib.suppress(OSError), open(_MAX_RATE) as file:
            return AttachError(f"cannot attach to {what}: the kernel takes {file.read().strip()} a second at most",
                               f"ask for fewer, or raise {_MAX_RATE}", errno=number)
    if number == errno.EMFILE:
        return AttachError(f"cannot attach to {what}: too many open files", "raise `ulimit -n`", errno=number)
    return AttachError(f"cannot attach to {what}: {reason}", errno=number)
