"""From what a person types to process ids."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gotap.process.errors import NoSuchName, NotRunning, ProcessError
from gotap.process.proc import Process
from gotap.process.stat import parse_stat

#: TASK_COMM_LEN - 1: the kernel keeps that much of a name.
_COMM_LENGTH = 15


def resolve(target: str) -> list[int]:
    """The processes that `target` means, ascending: digits are a pid, what holds a slash is an executable's path,
    anything else a name.

    A path means all processes that run that very file, also those that were started before another took its place.
    A name is the executable's file name or the main thread's name (`comm`), the whole of it; gotap itself is never
    meant. Raises ProcessGone or NotAProgram for a pid, NotRunning for a path, NoSuchName, with the names that are
    similar.
    """
    if target.isascii() and target.isdigit():
        with Process(int(target)) as process:
            return [process.pid]
    if "/" in target:
        return _running_file(target)
    running = {pid: names for pid, names in _named() if pid != os.getpid()}
    found = sorted(pid for pid, names in running.items() if target in names)
    if found:
        return found
    raise _no_such_name(target, {name for names in running.values() for name in names})


def _running_file(path: str) -> list[int]:
    """The processes whose executable is that file; or was, when the link says that it is deleted by now."""
    absolute = os.path.realpath(path)
    try:
        wanted: os.stat_result | None = os.stat(path)
    except OSError:
        wanted = None
    found = []
    for pid in pids():
        executable = f"/proc/{pid}/exe"
        try:
            same = wanted is not None and os.path.samestat(os.stat(executable), wanted)
            if same or os.readlink(executable) == f"{absolute} (deleted)":
                found.append(pid)
        except OSError:  # it has ended, is a kernel thread, or is not for us to look at
            continue
    if not found:
        raise NotRunning(
            f"no running process executes {path}" if wanted is not None else f"there is no file {path}",
            f"`gotap run -- {path}` starts it" if wanted is not None else "give the path of a program that runs",
        )
    return sorted(found)


def pids() -> Iterator[int]:
    """All processes that this user can see in /proc."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            yield int(entry)


def _named() -> Iterator[tuple[int, set[str]]]:
    for pid in pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stat = parse_stat(file.read())
        except OSError:
            continue
        if stat.is_kernel_thread or stat.has_ended:
            continue
        yield pid, _names(pid, stat.comm)


def _names(pid: int, comm: str) -> set[str]:
    """A comm that was only cut off its executable's name is no name of its own."""
    try:
        with Process(pid) as process:
            name = process.name
    except ProcessError:
        return {comm}
    cut = len(comm.encode()) == _COMM_LENGTH and name.startswith(comm)
    return {name} if cut else {name, comm}


def _no_such_name(target: str, names: set[str]) -> NoSuchName:
    lower = target.lower()
    within = sorted(name for name in names if lower and lower in name.lower())
    import difflib  # for this message alone

    similar = list(dict.fromkeys(within + difflib.get_close_matches(target, sorted(names), n=5, cutoff=0.6)))[:5]
    remedy = f"similar names: {', '.join(similar)}" if similar else "give a pid, or the executable's whole file name"
    return NoSuchName(f"no running process is named {target!r}", remedy)
