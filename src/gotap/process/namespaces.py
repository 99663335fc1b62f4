"""The namespaces of a process, told apart by their inode numbers (namespaces(7))."""

from __future__ import annotations

import os
from collections.abc import Sequence

#: Those that a process is in; the `*_for_children` of /proc/PID/ns are about processes yet to come.
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")

#: PROC_PID_INIT_INO, include/linux/proc_ns.h: the initial pid namespace's inode number.
INITIAL_PID_NAMESPACE = 0xEFFFFFFC


def read_namespaces(proc: str = "/proc/self") -> dict[str, int]:
    """Name → inode, without the kinds that this kernel does not have. Raises OSError when one may not look."""
    found: dict[str, int] = {}
    for kind in KINDS:
        try:
            link = os.readlink(f"{proc}/ns/{kind}")
        except FileNotFoundError:
            if not os.path.isdir(proc):
                raise
            continue
        found[kind] = int(link.partition("[")[2].rstrip("]"))
    return found


def foreign(theirs: dict[str, int], ours: dict[str, int]) -> tuple[str, ...]:
    """The kinds in which they live elsewhere than we do."""
    return tuple(kind for kind, inode in theirs.items() if ours.get(kind) != inode)


def is_entry_point(namespace_pids: Sequence[int], our_pid_namespace: int | None) -> bool | None:
    """Whether it is the first process of a pid namespace that is not the host's.

    `namespace_pids`: its pid in our namespace and in each below it (NSpid), so one alone means that its namespace is
    ours. None: it is, and nothing is known of ours.
    """
    if namespace_pids[-1] != 1:
        return False
    if len(namespace_pids) > 1:
        return True
    return None if our_pid_namespace is None else our_pid_namespace != INITIAL_PID_NAMESPACE
