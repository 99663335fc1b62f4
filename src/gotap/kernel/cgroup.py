"""How much memory gotap's own memory cgroup leaves to it and to its BPF maps, which are charged to it."""

from __future__ import annotations

import os

from msgspec import Struct

from gotap.kernel.findings import Feature

#: What a session takes: gotap itself (about 60 MB), the maps (8 MiB a process), and something for a busy minute.
NEEDED = 128 << 20
#: A limit above this is none: version 1 writes a number near 2^63.
_NO_LIMIT = 1 << 50


class Room(Struct, frozen=True):
    """The tightest cgroup above gotap: bytes, `limit` None for none; `place` is its path in the hierarchy."""

    place: str
    limit: int | None = None
    used: int = 0

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(self.limit - self.used, 0)


def memory_room(cgroups: str, mounts: str) -> Room | None:
    """From the texts of /proc/self/cgroup and /proc/self/mounts. None: there is no memory cgroup, or none to be seen.

    A limit of any ancestor counts (Documentation/admin-guide/cgroup-v2.rst; v1 with hierarchies).
    """
    for kind, controller, files in (
        ("cgroup", "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
        ("cgroup2", "", ("memory.max", "memory.current")),
    ):
        place, top = _own(cgroups, controller), _mount(mounts, kind, controller)
        if place is not None and top is not None and (found := _tightest(top, place, *files)) is not None:
            return found
    return None


def _own(cgroups: str, controller: str) -> str | None:
    for line in cgroups.splitlines():
        _, controllers, place = line.split(":", 2)
        if controller in controllers.split(","):
            return place
    return None


def _mount(mounts: str, kind: str, controller: str) -> str | None:
    for line in mounts.splitlines():
        _, place, name, options, *_ = line.split(" ")
        if name == kind and (not controller or controller in options.split(",")):
            return place
    return None


def _tightest(top: str, place: str, limit_file: str, usage_file: str) -> Room | None:
    found: Room | None = None
    while True:
        directory = os.path.normpath(top + place)
        limit, used = _number(f"{directory}/{limit_file}"), _number(f"{directory}/{usage_file}")
        if limit is not None:
            bounded = limit if limit < _NO_LIMIT else None
            room = Room(place, bounded, used or 0)
            if found is None or (room.left is not None and (found.left is None or room.left < found.left)):
                found = room
        if place in ("/", ""):
            return found
        place = os.path.dirname(place)


def _number(path: str) -> int | None:
    """`max` is a number above every limit."""
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return None
    return _NO_LIMIT if text == "max" else int(text)


def memory_finding() -> Feature:
    name = "memory cgroup"
    try:
        with open("/proc/self/cgroup") as cgroups, open("/proc/self/mounts") as mounts:
            room = memory_room(cgroups.read(), mounts.read())
    except OSError:
        room = None
    if room is None or room.limit is None or room.left is None:
        return Feature("memory_cgroup", name, True, "no limit" if room else "none")
    detail = f"limit {_mib(room.limit)} MiB, of which {_mib(room.left)} are left"
    if room.left >= NEEDED:
        return Feature("memory_cgroup", name, True, detail)
    return Feature(
        "memory_cgroup", name, False, f"{detail} ({room.place}); gotap and its maps take up to {_mib(NEEDED)}",
        f"raise it by {_mib(NEEDED - room.left)} MiB: MemoryMax= of its systemd unit, or `docker update --memory`",
    )  # fmt: skip


def _mib(size: int) -> int:
    return size >> 20
