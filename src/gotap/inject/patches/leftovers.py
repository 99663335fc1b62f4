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
from collections.abc import Collection, Sequence
from enum import Enum

from msgspec import Struct

from gotap.inject.patches import journal as journals
from gotap.inject.patches.applying import Outcome, Refused, restore
from gotap.inject.patches.journal import BusyBytes, Journal, Owner
from gotap.inject.patches.standing import refers_to
from gotap.inject.tracee import Target, calling, close, munmap, stopped
from gotap.inject.tracee.errors import MemoryRefused
from gotap.inject.trampolines.windows import PAGE
from gotap.process.errors import ProcessError
from gotap.process.memory import Memory
from gotap.process.proc import Process

#: How the kernel names a memory file's mappings and descriptors; all of gotap's names begin so.
PREFIX = "/memfd:gotap-"

#: How often a thread that is in gotap's memory is waited for. One in a hook is out within microseconds of running.
_TRIES = 10
_PAUSE = 0.002


class Life(Enum):
    """Of the gotap that wrote a journal."""

    ALIVE = "alive"
    DEAD = "dead"
    UNSEEN = "unseen"  # it is in a pid namespace that cannot be looked into from here


#: Of a memory file, as /proc/PID/maps tells them: device and inode.
FileKey = tuple[int, int]


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


class _File(Struct):
    """One of gotap's files in a process: what is mapped of it, and what goes with it. No journal: it has none (yet)."""

    areas: list[tuple[int, int]]
    journal: Journal | None = None


def leftovers(pid: int) -> list[Leftover]:
    """The journals in a process. Raises NewerJournal, DamagedJournal, NotPermitted, ProcessGone."""
    with Process(pid) as process:
        return [
            Leftover(key, file.journal, *_life(file.journal.owner))
            for key, file in _files(process).items()
            if file.journal is not None
        ]


def remove(pid: int, only: Collection[FileKey] | None = None) -> Removal:
    """Takes out what is gotap's, or these files; a gotap that is alive must have been asked to leave before.

    Raises what `stopped` does, and NewerJournal, DamagedJournal before anything is changed.
    """
    with Process(pid) as process:
        files = [file for key, file in _files(process).items() if only is None or key in only]
        descriptors = _descriptors(process, only)
    if not files and not descriptors:
        return Removal(0, (), 0, ())
    patches = [patch for file in files if file.journal is not None for patch in file.journal.patches]
    areas = [area for file in files for area in file.areas]
    outcome = Outcome((), (), ())
    stops: list[int] = []
    unused = False
    for _ in range(_TRIES):
        with stopped(pid) as target:
            if not stops:
                outcome = restore(target, patches)
            unused = not outcome.refused and _is_unused(target, files, areas)
        stops.append(target.stop_time_ns)
        if unused or outcome.refused:
            break
        time.sleep(_PAUSE)
    _give_back(pid, areas if unused else (), descriptors)
    mapped = 0 if unused else sum(high - low for low, high in areas)
    return Removal(len(outcome.done), outcome.refused, mapped, tuple(stops))


def _files(process: Process) -> dict[FileKey, _File]:
    """A private page follows its window: an anonymous mapping that ends where an area of the journal does."""
    mappings = process.mappings()
    files: dict[FileKey, _File] = {}
    with contextlib.closing(Memory(process)) as memory:
        for mapping in mappings:
            if mapping.path.startswith(PREFIX):
                file = files.setdefault((mapping.device, mapping.inode), _File([]))
                file.areas.append((mapping.start, mapping.end))
                if mapping.offset == 0:
                    file.journal = _journal(process.pid, memory, mapping.start)
    anonymous = {
        mapping.start: mapping.end for mapping in mappings if not mapping.inode and mapping.permissions == "rw-p"
    }
    for file in files.values():
        ends = {area.end for area in file.journal.areas} if file.journal else set()
        file.areas += [(end, anonymous[end]) for _, end in tuple(file.areas) if anonymous.get(end) in ends]
    return files


def _journal(pid: int, memory: Memory, address: int) -> Journal | None:
    head = memory.read(address, PAGE) or b""
    if not journals.is_journal(head):
        return None
    return journals.read(pid, memory.read(address, journals.needed(pid, head)) or b"")


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


def _is_unused(target: Target, files: Sequence[_File], areas: Sequence[tuple[int, int]]) -> bool:
    """Asked with no jump left that leads there."""
    return not any(_is_busy(target, file.journal.busy) for file in files if file.journal) and not refers_to(
        target, areas
    )


def _is_busy(target: Target, busy: BusyBytes) -> bool:
    """Whether a thread is in a hook, however far a handler on top of it may have gone."""
    with contextlib.suppress(MemoryRefused):  # the slots are gone already
        return any(target.read(busy.address + number * busy.stride, 1) != b"\0" for number in range(busy.count))
    return False


def _give_back(pid: int, areas: Sequence[tuple[int, int]], descriptors: Sequence[int]) -> None:
    if areas or descriptors:
        with calling(pid) as caller:
            for low, high in areas:
                caller(munmap(low, high - low))
            for descriptor in descriptors:
                caller(close(descriptor))
