"""What this gotap has put into a process, taken out again; `leftovers` is for what others did.

Only where it still is: after execve the process has another memory, and what is at the same addresses is its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gotap.inject.patches.applying import Outcome, restore
from gotap.inject.patches.file import TrampolineFile
from gotap.inject.patches.journal import NO_SLOTS, BusyBytes
from gotap.inject.patches.patch import Patch
from gotap.inject.patches.standing import refers_to
from gotap.inject.tracee import munmap, stopped
from gotap.process.proc import Process

#: How often a thread that is in gotap's memory is waited for. One in a hook is out within microseconds of running.
_TRIES = 10
_PAUSE = 0.002

_NOTHING = Outcome((), (), ())


def take_back(pid: int, file: TrampolineFile, patches: Sequence[Patch]) -> Outcome:
    """Takes patches back. Raises TraceeError, ProcessGone."""
    with stopped(pid) as target:
        outcome = restore(target, patches) if _is_mapped(pid, file) else _NOTHING
    return Outcome(outcome.done, outcome.refused, (target.stop_time_ns,))


def take_out(pid: int, file: TrampolineFile, busy: BusyBytes = NO_SLOTS) -> bool:
    """Unmaps trampolines to which no jump leads any more, when no thread is in them or could come back to them.

    Whether that is done. Raises TraceeError, ProcessGone.
    """
    ranges = [(area.address, area.end) for area in file.areas]
    for _ in range(_TRIES):
        with stopped(pid) as target:
            if not _is_mapped(pid, file):
                return True
            slots = (target.read(busy.address + number * busy.stride, 1) for number in range(busy.count))
            if all(slot == b"\0" for slot in slots) and not refers_to(target, ranges):
                with target.calling() as caller:  # while all stand: nobody may begin to use what goes
                    for area in file.areas:
                        caller(munmap(area.address, area.size))
                return True
        time.sleep(_PAUSE)
    return False


def _is_mapped(pid: int, file: TrampolineFile) -> bool:
    status = os.fstat(file.fileno())
    starts = {window.address for window, _ in file.windows}
    with Process(pid) as process:
        here = {one.start for one in process.mappings() if one.inode == status.st_ino}
    return starts <= here
