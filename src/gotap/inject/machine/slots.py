"""What gotap does about threads that have ended: their slots, and the ids that slots remember."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from gotap.inject.machine.layout import Header, Slot
from gotap.inject.machine.region import Region

#: When so much of the slots has owners those of dead threads should be freed.
_SHORT = 0.75


def forget_ids(region: Region, alive: Collection[int]) -> int:
    """A new thread may have the FS base of one that has ended, and so its slot: it is to ask for its id anew. How many.

    `alive`: the ids of all threads, in the target's own pid namespace, where slots have them from.
    """
    slots = region.slots()
    ids = _words(slots, Slot.TID, np.uint32)
    dead = [int(number) for number in np.flatnonzero(ids) if int(ids[number]) not in alive and number]
    base = region.read_u64(Header.SLOTS)
    for number in dead:
        region.write_u32(base + number * Slot.SIZE + Slot.TID, 0)
    return len(dead)


def are_short(region: Region) -> bool:
    """Whether it is time to free slots: threads that find none are not observed."""
    owned = np.count_nonzero(_words(region.slots(), Slot.OWNER, np.uint64))
    return bool(owned > _SHORT * region.read_u32(Header.SLOT_COUNT))


def free(region: Region, bases: Collection[int]) -> int:
    """Frees the slots of threads that have ended; how many.

    `bases`: the FS bases of all threads that live. They must be stopped, and none of them between a stub's first
    instruction and the one that makes its slot busy: such a thread may have found a slot that is freed here, and would
    share it with the next. What a slot keeps of the maps' elements stays with it.
    """
    slots, base = region.slots(), region.read_u64(Header.SLOTS)
    owners, busy = _words(slots, Slot.OWNER, np.uint64), slots[:, Slot.BUSY]
    freed = 0
    for number in range(1, len(slots)):
        if owners[number] and not busy[number] and int(owners[number]) not in bases:
            at = base + number * Slot.SIZE
            region.write_u32(at + Slot.TID, 0)
            region.write_u64(at + Slot.OWNER, 0)
            region.write_u32(at + Slot.CLAIM, 0)
            freed += 1
    return freed


def _words(slots: NDArray[np.uint8], field: Slot, kind: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    size = np.dtype(kind).itemsize
    words: NDArray[np.unsignedinteger] = np.ascontiguousarray(slots[:, field : field + size]).view(kind)[:, 0]
    return words
