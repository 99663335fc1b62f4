"""Patches are written into a process, and taken back, while all its threads stand."""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from gotap.inject.patches.file import TrampolineFile
from gotap.inject.patches.found import Peek, find_files
from gotap.inject.patches.patch import JUMP_SIZE, Found, Patch
from gotap.inject.patches.standing import standing
from gotap.inject.tracee import Target, stopped
from gotap.inject.tracee.errors import MemoryRefused
from gotap.inject.tracee.grip import changed
from gotap.inject.tracee.memory import TargetMemory
from gotap.inject.trampolines.windows import PAGE
from gotap.process.proc import Process

#: A thread leaves the bytes of a patch within nanoseconds, once it runs; on a busy machine it must be given a CPU
#: first.
_TRIES = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05

OCCUPIED = "a thread stands between the instructions there and does not move"
FOREIGN = "somebody else has changed the code there: another gotap, a debugger, a uprobe or another agent"
IN_THE_WAY = "the jump of another probe is in the way"
UNREADABLE = "the code there cannot be read or written"


class Refused(Struct, frozen=True):
    """A patch that is not what it was to be, and why, as a clause."""

    patch: Patch
    reason: str


class Outcome(Struct, frozen=True):
    """`done`: patches that are in the process, or out of it again, as was wanted.

    `stops`: how long the process stood, in ns, each time. `undone`: of those that were to be taken out, what somebody
    else had taken out before.
    """

    done: tuple[Patch, ...]
    refused: tuple[Refused, ...]
    stops: tuple[int, ...]
    undone: tuple[Patch, ...] = ()


def apply(pid: int, patches: Sequence[Patch], file: TrampolineFile) -> Outcome:
    """Writes patches that lead to the trampolines in `file`. Raises ProgramChanged, and what `stopped` does.

    Where a thread stands between the instructions that a patch replaces, it is let go and stopped again.
    """
    done: list[Patch] = []
    refused: list[Refused] = []
    stops: list[int] = []
    waiting: Sequence[Patch] = sorted(patches, key=lambda one: one.address)
    for pause in _pauses():
        with stopped(pid) as target:
            if not file.is_mapped_in(pid):  # the same program anew would take the jumps, and have nothing behind them
                raise changed(pid)
            waiting = _apart(target, waiting, file, refused)
            free, waiting = _free(target, waiting)
            _write(target, free, Found.ORIGINAL, done, refused)
        stops.append(target.stop_time_ns)
        if not waiting:
            break
        time.sleep(pause)
    refused += [Refused(patch, OCCUPIED) for patch in waiting]
    return Outcome(tuple(done), tuple(refused), tuple(stops))


def restore(target: Target, patches: Sequence[Patch]) -> Outcome:
    """Takes patches back in a process that stands. What somebody else has changed stays as it is.

    No thread can be in the way: a jump is one instruction, and where it is punned the byte behind it is one as well.
    """
    done: list[Patch] = []
    refused: list[Refused] = []
    _write(target, sorted(patches, key=lambda one: one.address), Found.OURS, done, refused)
    return Outcome(tuple(done), tuple(refused), ())


def missing(patches: Iterable[Patch], peek: Peek) -> list[Patch]:
    """Jumps that were written and are not there any more; nothing has to stand for it.

    A uprobe of another tool has come and gone at the same instruction, and the kernel wrote back what the file has.
    """
    lost = []
    for number, group in groupby(sorted(patches, key=lambda one: one.address), key=lambda one: one.address // PAGE):
        page = number * PAGE
        content = peek(page, PAGE)
        for patch in group:
            at = patch.address - page
            if content is not None and patch.whose(content[at : at + JUMP_SIZE]) is not Found.OURS:
                lost.append(patch)
    return lost


def _apart(target: Target, patches: Sequence[Patch], file: TrampolineFile, refused: list[Refused]) -> Sequence[Patch]:
    """Patches, by ascending address, without those that would stand among instructions that other trampolines run:
    such a trampoline goes on behind them, maybe in the middle of the jump. The opposite is seen by the bytes.
    """
    with Process(target.pid) as process, contextlib.closing(TargetMemory(target.pid)) as memory:
        found = find_files(target.pid, process.mappings(), memory.peek, but=file.key)
    starts = [patch.address for patch in patches]
    lost: set[int] = set()
    for other in found.values():
        for one in other.journal.patches if other.journal is not None else ():
            inside = range(bisect_right(starts, one.address), bisect_left(starts, one.moved_end))
            if inside and one.whose(target.read(one.address, JUMP_SIZE)) is Found.OURS:
                lost.update(inside)
    refused += [Refused(patches[index], IN_THE_WAY) for index in sorted(lost)]
    return [patch for index, patch in enumerate(patches) if index not in lost] if lost else patches


def _free(target: Target, patches: Sequence[Patch]) -> tuple[Sequence[Patch], Sequence[Patch]]:
    """Patches by ascending address: those that may be written, and those within which a thread stands."""
    starts = [patch.address for patch in patches]
    occupied = set()
    for address in standing(target):
        index = bisect_left(starts, address) - 1  # the last one that begins before
        if index >= 0 and address < patches[index].end:
            occupied.add(index)
    if not occupied:
        return patches, ()
    return (
        [patch for index, patch in enumerate(patches) if index not in occupied],
        [patches[index] for index in sorted(occupied)],
    )


def _write(target: Target, patches: Sequence[Patch], wanted: Found, done: list[Patch], refused: list[Refused]) -> None:
    """A page is read once and written once, and nothing in it is ever half done. `wanted`: whose bytes are replaced."""
    with contextlib.closing(TargetMemory(target.pid)) as memory:
        for number, group in groupby(patches, key=lambda patch: patch.address // PAGE):
            page = number * PAGE
            own = list(group)
            content = memory.peek(page, PAGE)
            after = bytearray(content or b"")
            todo = []
            for patch in own:
                at, size = patch.address - page, len(patch.new)
                seen = len(patch.original) if wanted is Found.ORIGINAL else JUMP_SIZE
                found = None if content is None else patch.whose(content[at : at + seen])
                if found is wanted:
                    after[at : at + size] = patch.new if wanted is Found.ORIGINAL else patch.original[:size]
                    todo.append(patch)
                elif found in (Found.ORIGINAL, Found.OURS) or (
                    wanted is Found.OURS and content is not None and patch.is_under_uprobe(content[at : at + seen])
                ):
                    done.append(patch)
                else:
                    refused.append(Refused(patch, UNREADABLE if found is None else FOREIGN))
            try:
                _change(target, memory, page, after, todo)
                done += todo
            except MemoryRefused:
                refused += [Refused(patch, UNREADABLE) for patch in todo]


def _change(target: Target, memory: TargetMemory, page: int, content: bytearray, patches: Sequence[Patch]) -> None:
    """From the first to the last patch at once; where the kernel has words poked only, each patch is one. Raises
    MemoryRefused.
    """
    if not patches:
        return
    first, last = patches[0].address - page, patches[-1].end - page
    if not memory.overwrite(page + first, bytes(content[first:last])):
        for patch in patches:
            at = patch.address - page
            target.write(patch.address, bytes(content[at : at + len(patch.new)]))


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    for _ in range(_TRIES):
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
