"""Control groups of either version for a test's target: frozen, or short of memory. Gone when the test is done."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gobuild import MissingTool
from processes import eventually


def _mounted(controller: str) -> tuple[Path, int]:
    """(where, version) of the hierarchy that has a controller. Raises MissingTool: there is none to write to."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        path = Path(where)
        if kind == "cgroup" and controller in options.split(",") and os.access(path, os.W_OK):
            return path, 1
        if kind == "cgroup2" and os.access(path, os.W_OK):
            controllers = (path / "cgroup.controllers").read_text().split()
            if controller in controllers or (controller == "freezer" and not _version_1("freezer")):
                return path, 2
    raise MissingTool(f"no cgroup hierarchy with the controller {controller} that may be written to")


def _version_1(controller: str) -> bool:
    lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return any(line[2] == "cgroup" and controller in line[3].split(",") for line in lines)


@contextmanager
def _group(controller: str) -> Iterator[tuple[Path, int]]:
    top, version = _mounted(controller)
    path = top / f"gotap-test-{os.getpid()}"
    if version == 2 and controller != "freezer":
        with contextlib.suppress(OSError):
            (top / "cgroup.subtree_control").write_text(f"+{controller}")
    path.mkdir()
    try:
        yield path, version
    finally:
        for pid in (path / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        eventually(lambda: not (path / "cgroup.procs").read_text().split(), "the end of the group's processes")
        path.rmdir()


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process stands still, as `docker pause` has it; it goes on behind the block."""
    with _group("freezer") as (path, version):
        (path / "cgroup.procs").write_text(str(pid))
        order, still, on = (
            ("freezer.state", "FROZEN", "THAWED") if version == 1 else ("cgroup.freeze", "1", "0")
        )
        (path / order).write_text(still)
        try:
            if version == 1:
                eventually(lambda: (path / order).read_text().strip() == still, "that the group is frozen")
            else:
                eventually(lambda: "frozen 1" in (path / "cgroup.events").read_text(), "that the group is frozen")
            yield
        finally:
            (path / order).write_text(on)
            (path.parent / "cgroup.procs").write_text(str(pid))


class Memory:
    """A group's memory, in bytes."""

    def __init__(self, path: Path, version: int) -> None:
        self._path, self._version = path, version

    def used(self) -> int:
        return int((self._path / ("memory.usage_in_bytes" if self._version == 1 else "memory.current")).read_text())

    def limit(self, most: int) -> None:
        (self._path / ("memory.limit_in_bytes" if self._version == 1 else "memory.max")).write_text(str(most))

    def killed(self) -> int:
        """How many processes have been killed for want of it."""
        events = self._path / ("memory.oom_control" if self._version == 1 else "memory.events")
        return int(next(line.split()[1] for line in events.read_text().splitlines() if line.startswith("oom_kill ")))


@contextmanager
def own_memory() -> Iterator[tuple[Memory, Path]]:
    """A group without processes, and the file that takes their numbers."""
    with _group("memory") as (path, version):
        yield Memory(path, version), path / "cgroup.procs"
