"""/proc/PID/stat, /proc/PID/status and /proc/PID/cgroup as data (proc_pid_stat(5), cgroups(7)). Pure."""

from __future__ import annotations

import re

from msgspec import Struct

from gotap.process.errors import UnexpectedText

#: include/linux/sched.h; field 9 of stat.
_PF_KTHREAD = 0x00200000


class Stat(Struct, frozen=True):
    """`start_time`: clock ticks after boot; with the pid it identifies a process until the next boot."""

    comm: str
    state: str
    parent: int
    flags: int
    start_time: int

    @property
    def is_kernel_thread(self) -> bool:
        return bool(self.flags & _PF_KTHREAD)

    @property
    def has_ended(self) -> bool:
        return self.state in "ZXx"


def parse_stat(text: bytes) -> Stat:
    """The comm stands between the first `(` and the last `)`, and may hold both. Raises UnexpectedText."""
    head, _, tail = text.rpartition(b")")
    fields = tail.split()
    try:
        return Stat(
            comm=head.partition(b"(")[2].decode("utf-8", "replace"),
            state=fields[0].decode(),
            parent=int(fields[1]),
            flags=int(fields[6]),
            start_time=int(fields[19]),
        )
    except (IndexError, ValueError):
        raise UnexpectedText("stat") from None


def parse_status(text: bytes) -> dict[str, list[str]]:
    """`Uid: 0 0 0 0` → `{"Uid": ["0", "0", "0", "0"]}`."""
    # Names may hold any character that ends a line for Python, and so look like a field: only \n is none of theirs.
    lines = (line.partition(":") for line in text.decode("utf-8", "replace").split("\n"))
    return {key: value.split() for key, colon, value in lines if colon}


#: How runtimes name a container's cgroup: the whole last element, or `RUNTIME-ID.scope` (systemd driver);
#: docker, containerd (cri-containerd-), CRI-O (crio-), podman (libpod-, with a child `container`), and garden's and
#: Kubernetes' bare ids. ECS on Fargate joins a task id and a number: 32 hex digits, `-`, decimal digits.
#: Each text has one way to match: with several, a name of a hundred letters and hyphens would take minutes.
_CONTAINER = re.compile(
    r"^(?:[a-z0-9]+(?:[-:][a-z0-9]+|[_.][a-z]+)*[-:])?([0-9a-f]{64}|[0-9a-f]{32}-[0-9]+)(?:\.scope)?$"
)


def container_id(cgroup: str) -> str:
    """The container that /proc/PID/cgroup names, innermost first; empty when it names none.

    In a cgroup namespace of its own a process shows `/` only: read the file of the process from outside.
    """
    for line in cgroup.split("\n"):
        path = line.split(":", 2)[-1]
        for element in reversed(path.split("/")):
            # containerd under systemd, misconfigured as many are: SLICE:cri-containerd:ID in one element.
            if found := _CONTAINER.match(element.rpartition(":")[2]):
                return found[1]
    return ""
