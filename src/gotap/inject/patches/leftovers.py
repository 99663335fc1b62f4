"""What gotap has put into a process, found again by another gotap: after a crash, or while the first one still lives.

Found by the names of mappings, /memfd:gotap-…, and by the journals in them. Everything is taken out that can be proven
to be gotap's and unused:

- a jump, if its bytes are still those that gotap wrote. If somebody else has changed them, they stay, and so does all
  that they may lead to;
- memory, if with all threads stopped none is in it, has its stack there, or finds a word above its stack pointer that
  could lead into it: a return address or, in a signal handler, the frame of what was interrupted.

After execve there is nothing to find, and nothing to do: the kernel has made the process a new memory.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from gotap.inject.patches.applying import Refused, restore
from gotap.inject.patches.found import PREFIX, FileKey, FoundFile, find_files
from gotap.inject.patches.journal import BusyBytes, Journal, Owner
from gotap.inject.patches.patch import Found, Patch
from gotap.inject.patches.standing import refers_to
from gotap.inject.tracee import Target, close, munmap, stopped
from gotap.inject.tracee.errors import MemoryRefused
from gotap.process.errors import ProcessError
from gotap.process.memory import Memory
from gotap.process.proc import Process

#: How often a thread that is in gotap's memory is waited for. One in a hook is out within microseconds of running.
_TRIES = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1


class Life(Enum):
    """Of the gotap that wrote a journal."""

    ALIVE = "alive"
    DEAD = "dead"
    UNSEEN = "unseen"  # it is in a pid namespace that cannot be looked into from here


class Leftover(Struct, frozen=True):
    """A journal in a process, the file that it is in, and who wrote it. `owner`: its pid here, if it is alive."""

    file: FileKey
    journal: Journal
    life: Life
    owner: int | None = None


class Removal(Struct, frozen=True):
    """What `remove` did. `restored`: patches taken back; `kept`: those left, and why; `mapped`: bytes that stay mapped.

    `stops`: how long the process stood, ns each time.
    """

    restored: int
    kept: tuple[Refused, ...]
    mapped: int
    stops: tuple[int, ...]

    @property
    def is_complete(self) -> bool:
        return not self.kept and not self.mapped


def leftovers(pid: int) -> list[Leftover]:
    """The journals in a process. Raises NewerJournal, DamagedJournal, NotPermitted, ProcessGone."""
    with Process(pid) as process:
        return [
            Leftover(key, file.journal, *_life(file.journal.owner))
            for key, file in _files(process).items()
            if file.journal is not None
        ]


def written(pid: int, patches: Sequence[Patch]) -> list[Patch]:
    """Those of a journal's patches that stand in the process now. Raises NotPermitted, ProcessGone."""
    with Process(pid) as process, contextlib.closing(Memory(process)) as memory:
        return [one for one in patches if _stands(one, memory.read(one.address, len(one.original)) or b"")]


def _stands(patch: Patch, actual: bytes) -> bool:
    return patch.whose(actual) is not Found.ORIGINAL and not patch.is_under_uprobe(actual)


def remove(pid: int, only: Collection[FileKey] | None = None) -> Removal:
    """Takes out what is gotap's, or these files; a gotap that is alive must have been asked to leave before.

    Raises what `stopped` does, and NewerJournal, DamagedJournal before anything is changed.
    """
    with Process(pid) as process:
        files = {key: file for key, file in _files(process).items() if only is None or key in only}
        if not files and not _descriptors(process, only):
            return Removal(0, (), 0, ())
    restored = 0
    kept: tuple[Refused, ...] = ()
    stops: list[int] = []
    for number in range(_TRIES):
        with stopped(pid) as target:
            areas = _still_mapped(pid, files)
            if areas and not number:
                patches = [one for file in files.values() if file.journal is not None for one in file.journal.patches]
                outcome = restore(target, patches)
                restored, kept = len(outcome.done), outcome.refused
            unused = not kept and _is_unused(target, files.values(), areas)
            if unused:
                _give_back(target, areas, _still_open(pid, only))
        stops.append(target.stop_time_ns)
        if unused or kept:
            break
        time.sleep(min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE))
    mapped = 0 if unused else sum(high - low for low, high in areas)
    return Removal(restored, kept, mapped, tuple(stops))


def _files(process: Process) -> dict[FileKey, FoundFile]:
    with contextlib.closing(Memory(process)) as memory:
        return find_files(process.pid, process.mappings(), memory.read)


def _still_mapped(pid: int, files: Mapping[FileKey, FoundFile]) -> list[tuple[int, int]]:
    """All their areas, or none: after execve what is at the same addresses is the new program's."""
    with Process(pid) as process:
        here = {(one.device, one.inode) for one in process.mappings() if one.path.startswith(PREFIX)}
    return [area for key, file in files.items() if key in here for area in file.areas]


def _still_open(pid: int, only: Collection[FileKey] | None) -> list[int]:
    """Asked while the process stands: a program that it has executed since may use the numbers for files of its own."""
    with Process(pid) as process:
        return _descriptors(process, only)


def _life(owner: Owner) -> tuple[Life, int | None]:
    """By pid and start time, if this is the owner's pid namespace; else by what /proc shows of inner ones."""
    here = os.stat("/proc/self/ns/pid").st_ino == owner.namespace
    candidates = [owner.pid] if here else _inner(owner)
    for pid in candidates:
        with contextlib.suppress(ProcessError), Process(pid) as process:
            if process.start_time == owner.start_time and process.is_alive():
                return Life.ALIVE, pid
    return (Life.DEAD if here else Life.UNSEEN), None


def _inner(owner: Owner) -> list[int]:
    """Processes that have the owner's pid in its namespace, which is one below ours."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(ProcessError, OSError), Process(int(name)) as process:
                inode = os.stat(process.path("ns/pid")).st_ino
                if inode == owner.namespace and process.namespace_pids[-1] == owner.pid:
                    found.append(process.pid)
    return found


def _descriptors(process: Process, only: Collection[FileKey] | None) -> list[int]:
    """Of gotap's files, in the process: left open by a gotap that died while it mapped them."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(process.path("fd")):
            path = process.path(f"fd/{name}")
            with contextlib.suppress(OSError):
                if os.readlink(path).startswith(PREFIX):
                    status = os.stat(path)
                    if only is None or (status.st_dev, status.st_ino) in only:
                        found.append(int(name))
    return found


def _is_unused(target: Target, files: Iterable[FoundFile], areas: Sequence[tuple[int, int]]) -> bool:
    """Asked with no jump left that leads there."""
    if any(file.journal is not None and _is_busy(target, file.journal.busy) for file in files):
        return False
    return not refers_to(target, areas)


def _is_busy(target: Target, busy: BusyBytes) -> bool:
    """Whether a thread is in a hook, however far a handler on top of it may have gone."""
    with contextlib.suppress(MemoryRefused):  # the slots are gone already
        return any(target.read(busy.address + number * busy.stride, 1) != b"\0" for number in range(busy.count))
    return False


def _give_back(target: Target, areas: Sequence[tuple[int, int]], descriptors: Sequence[int]) -> None:
    """While all threads stand: nobody can begin to use what goes."""
    if areas or descriptors:
        with target.calling() as caller:
            for low, high in areas:
                caller(munmap(low, high - low))
            for descriptor in descriptors:
                caller(close(descriptor))
