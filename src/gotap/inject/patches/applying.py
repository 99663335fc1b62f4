"""Patches are written into a process, and taken back, while all its threads stand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from msgspec import Struct

from gotap.inject.patches.patch import Found, Patch
from gotap.inject.patches.standing import Standing
from gotap.inject.tracee import Target, stopped
from gotap.inject.tracee.errors import MemoryRefused
from gotap.inject.trampolines.windows import PAGE

#: A thread leaves the bytes of a patch within nanoseconds, once it runs; on a busy machine it must be given a CPU
#: first.
_TRIES = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05

OCCUPIED = "a thread stands between the instructions there and does not move"
FOREIGN = "somebody else has changed the code there: a debugger, a uprobe or another agent"
UNREADABLE = "the code there cannot be read or written"


class Refused(Struct, frozen=True):
    """A patch that is not what it was to be, and why, as a clause."""

    patch: Patch
    reason: str


class Outcome(Struct, frozen=True):
    """`done`: patches that are in the process, or out of it again, as was wanted.

    `stops`: how long the process stood, in ns, each time.
    """

    done: tuple[Patch, ...]
    refused: tuple[Refused, ...]
    stops: tuple[int, ...]


def apply(pid: int, patches: Sequence[Patch]) -> Outcome:
    """Writes patches. Trampolines and journal must be in the process already. Raises TraceeError and its kin.

    Where a thread stands between the instructions that a patch replaces, it is let go and stopped again.
    """
    done: list[Patch] = []
    refused: list[Refused] = []
    stops: list[int] = []
    waiting: Sequence[Patch] = sorted(patches, key=lambda one: one.address)
    for pause in _pauses():
        with stopped(pid) as target:
            standing = Standing(target)
            occupied = standing.inside([(patch.address + 1, patch.end) for patch in waiting])
            free = [patch for patch, is_occupied in zip(waiting, occupied, strict=True) if not is_occupied]
            _write(target, free, Found.ORIGINAL, done, refused)
            waiting = [patch for patch, is_occupied in zip(waiting, occupied, strict=True) if is_occupied]
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


def _write(target: Target, patches: Sequence[Patch], wanted: Found, done: list[Patch], refused: list[Refused]) -> None:
    """Each patch one write, within one page, so that nothing is ever half done. `wanted`: whose bytes are replaced."""
    for patch, actual in zip(patches, _actual(target, patches), strict=True):
        found = None if actual is None else patch.whose(actual)
        if found is wanted:
            try:
                target.write(patch.address, patch.new if wanted is Found.ORIGINAL else patch.original)
                done.append(patch)
            except MemoryRefused:
                refused.append(Refused(patch, UNREADABLE))
        elif found in (Found.ORIGINAL, Found.OURS):
            done.append(patch)
        else:
            refused.append(Refused(patch, UNREADABLE if found is None else FOREIGN))


def _actual(target: Target, patches: Sequence[Patch]) -> Iterator[bytes | None]:
    """The bytes at each patch, by ascending address; a page is read once."""
    page, content = -1, b""
    for patch in patches:
        if patch.address // PAGE != page:
            page = patch.address // PAGE
            try:
                content = target.read(page * PAGE, PAGE)
            except MemoryRefused:
                content = b""
        at = patch.address % PAGE
        actual = content[at : at + patch.size]
        yield actual if len(actual) == patch.size else None


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    for _ in range(_TRIES):
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
