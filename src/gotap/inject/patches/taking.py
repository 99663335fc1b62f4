"""What this gotap has put into a process, taken out again; `leftovers` is for what others did."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gotap.inject.patches.applying import Outcome, restore
from gotap.inject.patches.journal import NO_SLOTS, Area, BusyBytes
from gotap.inject.patches.patch import Patch
from gotap.inject.patches.standing import refers_to
from gotap.inject.tracee import munmap, stopped

#: How often a thread that is in gotap's memory is waited for. One in a hook is out within microseconds of running.
_TRIES = 10
_PAUSE = 0.002


def take_back(pid: int, patches: Sequence[Patch]) -> Outcome:
    """Takes patches back. Raises TraceeError, ProcessGone."""
    with stopped(pid) as target:
        outcome = restore(target, patches)
    return Outcome(outcome.done, outcome.refused, (target.stop_time_ns,))


def take_out(pid: int, areas: Sequence[Area], busy: BusyBytes = NO_SLOTS) -> bool:
    """Unmaps memory to which no jump leads any more, when no thread is in it or could come back to it; whether it was.

    Raises TraceeError, ProcessGone.
    """
    ranges = [(area.address, area.end) for area in areas]
    for _ in range(_TRIES):
        with stopped(pid) as target:
            slots = (target.read(busy.address + number * busy.stride, 1) for number in range(busy.count))
            unused = all(slot == b"\0" for slot in slots) and not refers_to(target, ranges)
            if unused:  # while all stand: nobody may begin to use what goes
                with target.calling() as caller:
                    for area in areas:
                        caller(munmap(area.address, area.size))
                return True
        time.sleep(_PAUSE)
    return False
