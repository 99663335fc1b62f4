"""What gotap does about threads that have ended: their slots, and the ids that slots remember."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from gotap.inject.machine.layout import SLOTS, Header, Slot
from gotap.inject.machine.region import Region

#: More slots than this a region does not get: they take 32 MB.
_MOST_SLOTS = 4096
#: So many times as many slots as there are threads when gotap attaches, since more may come.
_ROOM = 4
#: When so much of the slots has owners, and so much of them belongs to threads that have ended, those are freed.
_SHORT, _DEAD = 3 / 4, 1 / 8
_LOW = np.uint64(0xFFFFFFFF)


def wanted(threads: int) -> int:
    """How many slots a process with so many threads should have."""
    return min(max(SLOTS, 1 << (_ROOM * threads).bit_length()), _MOST_SLOTS)


class Ids:
    """A new thread may have the FS base of one that has ended, and so its slot with its id: after an end all threads
    ask for their ids anew."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._known: frozenset[int] = frozenset()

    def look(self, threads: Collection[int]) -> None:
        """To be called now and then with the ids of all threads, in whatever pid namespace."""
        if not self._known.issubset(threads):
            self._region.write_u32(Header.GENERATION, self._region.read_u32(Header.GENERATION) + 1 & 0xFFFFFFFF or 1)
        self._known = frozenset(threads)


def are_short(region: Region, threads: int) -> bool:
    """Whether it is time to free slots: threads that find none are not observed. `threads`: how many live."""
    count, owned = region.read_u32(Header.SLOT_COUNT), int(np.count_nonzero(_owners(region)))
    return owned > _SHORT * count and owned - threads > _DEAD * count


def free(region: Region, bases: Collection[int]) -> int:
    """Frees the slots of threads that have ended; how many. `bases`: the FS bases of all that live; they are stopped.

    A thread that stands where it has found its slot and has not made it busy yet lives, so its slot stays. So does one
    whose owner is half-written: its lower half, which is written first, is a living thread's. What a slot keeps of the
    maps' elements stays with it.
    """
    owners, base = _owners(region), region.read_u64(Header.SLOTS)
    alive = np.array([each & 0xFFFFFFFF for each in bases], np.uint64)
    dead = (owners != 0) & ~np.isin(owners & _LOW, alive) & (region.slots()[:, Slot.BUSY] == 0)
    dead[0] = False  # gotap's own
    for number in np.flatnonzero(dead).tolist():
        at = base + number * Slot.SIZE
        region.write_u32(at + Slot.TID, 0)
        region.write_u64(at + Slot.OWNER, 0)
        region.write_u32(at + Slot.CLAIM, 0)
    return int(dead.sum())


def _owners(region: Region) -> NDArray[np.uint64]:
    owners: NDArray[np.uint64] = np.ascontiguousarray(region.slots()[:, Slot.OWNER : Slot.OWNER + 8]).view(np.uint64)
    return owners[:, 0]
