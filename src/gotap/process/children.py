"""The processes below one process, and the programs they come to execute, by looking at /proc: no root, no BPF."""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec import Struct

from gotap.process.find import pids
from gotap.process.stat import Stat, parse_stat

#: Fields that fork keeps and exec renews: the executable's device and inode, and the auxiliary vector, which holds
#: random addresses (AT_RANDOM, AT_SYSINFO_EHDR), so that executing the same file again shows too.
_Execution = tuple[int, int, bytes]


def children(pid: int) -> list[int]:
    """The direct children, of all threads; empty when the process is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(map(int, file.read().split()))
        except OSError:
            # Either the thread has ended, or the kernel has no CONFIG_PROC_CHILDREN.
            if not os.path.exists("/proc/self/task/" + str(os.getpid()) + "/children"):
                return [child for child in pids() if _parent(child) == pid]
    return found


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, parents before their children, without `pid` itself."""
    found: list[int] = []
    seen = {pid}
    level = [pid]
    while level:
        level = [child for parent in level for child in children(parent) if child not in seen]
        seen.update(level)
        found += level
    return found


def _stat(pid: int) -> Stat | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse_stat(file.read())
    except OSError:
        return None


def _parent(pid: int) -> int | None:
    stat = _stat(pid)
    return stat.parent if stat else None


def _start_time(pid: int) -> int | None:
    stat = _stat(pid)
    return stat.start_time if stat else None


class _Seen(Struct, frozen=True):
    start_time: int
    execution: _Execution


class ExecWatcher:
    """Tells which processes below `root`, and `root` itself, have executed a program since the last look.

    What runs when the watcher is made is known and not told. A process whose parent ends stays watched. Between two
    looks a process may come and go unseen, and one that is orphaned within that time escapes; a fork that has executed
    nothing yet is not told.
    """

    def __init__(self, root: int) -> None:
        self._known: dict[int, _Seen] = {}
        self._root = root
        self._look()

    def poll(self) -> list[int]:
        """Pids that have executed something new; takes about 30 µs per thread below the root."""
        return list(self._look())

    def _look(self) -> list[int]:
        before = {pid: seen for pid, seen in self._known.items() if _start_time(pid) == seen.start_time}
        self._known = {}
        new: list[int] = []
        for pid, parent in self._walk([self._root, *before]):
            seen = _seen(pid)
            if seen is None:
                if pid in before:  # perhaps in the middle of an exec: an orphan would be lost, as nothing leads to it
                    self._known[pid] = before[pid]
                continue
            self._known[pid] = seen
            # A child that has executed nothing has what its parent has, or had before it executed something itself.
            inherited = [before.get(pid) or before.get(parent), before.get(pid) or self._known.get(parent)]
            if all(one is None or one.execution != seen.execution for one in inherited):
                new.append(pid)
        return new

    def _walk(self, roots: list[int]) -> Iterator[tuple[int, int]]:
        """(pid, parent or 0) of the roots and all below, each once."""
        met = set(roots)
        level = [(pid, 0) for pid in dict.fromkeys(roots)]
        while level:
            yield from level
            below = [(child, pid) for pid, _ in level for child in children(pid)]
            level = [(child, pid) for child, pid in below if child not in met]
            met.update(child for child, _ in level)


def _seen(pid: int) -> _Seen | None:
    """None: the process is gone, has ended, is in the middle of an exec, or is not ours to read."""
    stat = _stat(pid)
    if stat is None:
        return None
    try:
        exe = os.stat(f"/proc/{pid}/exe")
        with open(f"/proc/{pid}/auxv", "rb") as file:
            vector = file.read()
    except OSError:
        return None
    # AT_NULL first: the exec is under way and the vector not written yet.
    return _Seen(stat.start_time, (exe.st_dev, exe.st_ino, vector)) if any(vector[:8]) else None
