"""What this gotap has put into a process, taken out again; `leftovers` is for what others did.

Only where it still is: after execve the process has another memory, and what is at the same addresses is its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence

from gotap.inject.patches.applying import Outcome, missing, restore
from gotap.inject.patches.file import TrampolineFile
from gotap.inject.patches.journal import Area
from gotap.inject.patches.patch import Patch
from gotap.inject.patches.standing import refers_to
from gotap.inject.tracee import munmap, stopped
from gotap.inject.tracee.memory import TargetMemory
from gotap.process.proc import Process

#: How often a thread that is in gotap's memory is waited for. One in a hook is out within microseconds of running.
_TRIES = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1

_NOTHING = Outcome((), (), ())


def take_back(pid: int, file: TrampolineFile, patches: Sequence[Patch]) -> Outcome:
    """Takes patches back. Raises TraceeError, ProcessGone."""
    outcome = _NOTHING
    undone: tuple[Patch, ...] = ()
    with stopped(pid) as target:
        if _is_mapped(pid, _starts(file)):
            with contextlib.closing(TargetMemory(pid)) as memory:
                undone = tuple(missing(patches, memory.peek))
            outcome = restore(target, patches)
    return Outcome(outcome.done, outcome.refused, (target.stop_time_ns,), undone)


def notices(pid: int, outcome: Outcome) -> list[str]:
    """What of an Outcome of `take_back` people should know."""
    told = [f"the jump at {one.patch.address:#x} stays: {one.reason}" for one in outcome.refused]
    stay = {one.patch for one in outcome.refused}
    if undone := [one for one in outcome.undone if one not in stay]:
        jumps = "a jump" if len(undone) == 1 else f"{len(undone):,} jumps"
        first = f"{undone[0].address:#x}"
        told.append(f"somebody else had undone {jumps} in process {pid}, the first one at {first}: calls there were "
                    "not seen since then; a uprobe of another tool does that when it goes")  # fmt: skip
    return told


def take_out(pid: int, file: TrampolineFile, is_busy: Callable[[], bool] = lambda: False) -> bool:
    """As `unmap`, of trampolines."""
    return unmap(pid, _starts(file), file.areas, is_busy)


def unmap(pid: int, starts: Mapping[int, int], areas: Sequence[Area], is_busy: Callable[[], bool]) -> bool:
    """Unmaps memory to which no jump leads any more, when no thread is in it or could come back to it.

    `starts`: of mappings → inode: what tells that it is still the same memory. `is_busy`: whether a thread is in a
    hook. Returns whether it is done. Raises TraceeError, ProcessGone.
    """
    ranges = [(area.address, area.end) for area in areas]
    pause = _FIRST_PAUSE
    for _ in range(_TRIES):
        with stopped(pid) as target:
            if not _is_mapped(pid, starts):
                return True
            if not is_busy() and not refers_to(target, ranges):
                with target.calling() as caller:  # while all stand: nobody may begin to use what goes
                    for area in areas:
                        caller(munmap(area.address, area.size))
                return True
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return False


def _starts(file: TrampolineFile) -> dict[int, int]:
    inode = os.fstat(file.fileno()).st_ino
    return {window.address: inode for window, _ in file.windows}


def _is_mapped(pid: int, starts: Mapping[int, int]) -> bool:
    with Process(pid) as process:
        here = {(one.start, one.inode) for one in process.mappings()}
    return starts.items() <= here
