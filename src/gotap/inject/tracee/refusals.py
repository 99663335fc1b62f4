"""Looked at before a process is touched, and when the kernel refuses: may it be stopped, will it stop, and why not?"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Sequence

from gotap.inject.tracee.deadline import tracer_of
from gotap.inject.tracee.errors import (
    AlreadyTraced,
    CannotTrace,
    Frozen,
    NotStopping,
    TraceeError,
    WrongArchitecture,
)
from gotap.process.errors import UnexpectedText, unreadable
from gotap.process.proc import Process, read_file
from gotap.process.reading import Observer
from gotap.process.stat import parse_stat, parse_status

#: include/uapi/linux/elf.h: EI_CLASS, e_machine.
_ELFCLASS64, _EM_X86_64 = 2, 62
_CGROUPS = "/sys/fs/cgroup"
#: Between two looks at threads that sleep in the kernel; nothing is stopped meanwhile.
_LOOK_AGAIN = 0.005


def check_architecture(process: Process) -> None:
    """Raises WrongArchitecture, ProcessGone, NotPermitted."""
    if platform.machine() != "x86_64":
        raise WrongArchitecture(
            f"gotap runs on {platform.machine()}, and acts inside processes on x86_64 only", "use --via uprobe"
        )
    try:
        descriptor = os.open(process.exe, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(process.pid, "the executable", error) from None
    try:
        head = os.pread(descriptor, 20, 0)
    finally:
        os.close(descriptor)
    if len(head) == 20 and (head[4], int.from_bytes(head[18:20], "little")) != (_ELFCLASS64, _EM_X86_64):
        raise WrongArchitecture(
            f"process {process.pid} runs an executable that is not for 64-bit x86",
            "gotap acts inside 64-bit programs only; build it for GOARCH=amd64",
        )


def thread_states(pid: int) -> dict[int, str]:
    """Thread id → state letter of /proc/PID/task/TID/stat, without those that have ended."""
    states = {}
    for thread in threads(pid):
        state = thread_state(pid, thread)
        if state is not None:
            states[thread] = state
    return states


def threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def thread_state(pid: int, thread: int) -> str | None:
    """None when it has ended, a zombie's too."""
    try:
        stat = parse_stat(read_file(f"/proc/{pid}/task/{thread}/stat"))
    except (OSError, UnexpectedText):
        return None
    return None if stat.has_ended else stat.state


def is_ours(thread: int) -> bool:
    """Whether the calling thread of gotap traces it."""
    return tracer_of(thread) == threading.get_native_id()


def wait_until_awake(process: Process, limit: float) -> None:
    """Returns when no thread sleeps where it cannot be stopped, so that none is seized that would then stay so.

    Each has to be seen otherwise once. Raises Frozen, NotStopping.
    """
    end = time.monotonic() + limit
    asleep: set[int] | None = None
    while True:
        check_freezer(process)
        states = thread_states(process.pid)
        now = {thread for thread, state in states.items() if state == "D"}
        asleep = now if asleep is None else asleep & now
        if not asleep:
            return
        if time.monotonic() >= end:
            raise not_stopping(process.pid, sorted(asleep))
        time.sleep(_LOOK_AGAIN)


def check_freezer(process: Process) -> None:
    """Raises Frozen if the process's cgroup, or one above it, is frozen: version 2's or version 1's freezer."""
    for line in process.read("cgroup").decode("utf-8", "replace").splitlines():
        hierarchy, controllers, path = (*line.split(":", 2), "", "")[:3]
        if hierarchy == "0":
            for root in (_CGROUPS, f"{_CGROUPS}/unified"):
                if "frozen 1" in _text(f"{root}{path}/cgroup.events").splitlines():
                    raise _frozen(process.pid, path, f"echo 0 > {root}{path}/cgroup.freeze")
        elif "freezer" in controllers.split(","):
            directory = f"{_CGROUPS}/freezer{path}"
            if _text(f"{directory}/freezer.state").strip() in ("FROZEN", "FREEZING"):
                raise _frozen(process.pid, path, f"echo THAWED > {directory}/freezer.state")


def _frozen(pid: int, path: str, command: str) -> Frozen:
    return Frozen(
        f"process {pid} is frozen: its cgroup {path} is", f"thaw it: `docker unpause`, `systemctl thaw`, or {command}"
    )


def _text(path: str) -> str:
    try:
        return read_file(path).decode("utf-8", "replace")
    except OSError:
        return ""


def not_stopping(pid: int, stuck: Sequence[int]) -> NotStopping:
    """Names one of the threads and where in the kernel it sleeps, if it does."""
    if thread_state(pid, stuck[0]) == "R":
        return NotStopping(
            f"process {pid} does not stop: its thread {stuck[0]} gets no CPU",
            "raise the CPU quota of its cgroup (cpu.max), or try again when the host is less busy",
        )
    place = _text(f"/proc/{pid}/task/{stuck[0]}/wchan").strip("\0\n ")
    where = f" in {place}" if place and place != "0" else ""
    others = f" ({len(stuck)} threads so)" if len(stuck) > 1 else ""
    return NotStopping(
        f"process {pid} does not stop: its thread {stuck[0]} sleeps in the kernel{where}, and nothing wakes it{others}",
        "it waits for a disk, a network file system, a debugger's freeze or a child of vfork: see to that, try again",
    )


def check_untraced(pid: int, limit: float = 0.5) -> None:
    """Raises AlreadyTraced when another process traces one of its threads, for longer than another gotap would.

    For who begins with one thread and will want all of them.
    """
    end = time.monotonic() + limit
    while tracers := {tracer_of(thread) for thread in threads(pid)} - {0, threading.get_native_id()}:
        if time.monotonic() >= end:
            raise _traced(pid, tracers.pop())
        time.sleep(_LOOK_AGAIN)


def _traced(pid: int, tracer: int) -> AlreadyTraced:
    name = _text(f"/proc/{tracer}/comm").strip() or "a process out of sight"
    return AlreadyTraced(
        f"process {pid} is traced by {name} (pid {tracer}), and there can be only one tracer",
        f"end {name}, or detach it; --via uprobe needs no tracing",
    )


def refused(process: Process, error: OSError) -> TraceeError:
    """Why PTRACE_SEIZE failed, as far as can be told from outside."""
    pid = process.pid
    if tracer := tracer_of(pid):
        return _traced(pid, tracer)
    why = Observer().read(process).ptrace_denied or _own_filter() or f"the kernel says: {error.strerror}"
    return CannotTrace(f"process {pid} cannot be traced: {why}", _remedy(why))


def _remedy(why: str) -> str:
    """By what is said in `explain_denial` (process/privileges.py)."""
    if "ptrace_scope is 3" in why:
        return "start the host with kernel.yama.ptrace_scope below 3, or use --via uprobe as root"
    if "ptrace_scope is 1" in why:
        return "start the program with `gotap run`, give gotap CAP_SYS_PTRACE, or `sysctl kernel.yama.ptrace_scope=0`"
    if "security module" in why:
        return "allow ptrace in its policy, for that label, or use --via uprobe as root"
    return "run gotap as root or as the process's own user, with CAP_SYS_PTRACE (`docker run --cap-add SYS_PTRACE`)"


def _own_filter() -> str:
    mode = parse_status(read_file("/proc/self/status")).get("Seccomp")
    return "gotap itself runs under a seccomp filter, which may forbid ptrace" if mode == ["2"] else ""
