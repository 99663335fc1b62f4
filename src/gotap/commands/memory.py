"""What watching keeps in memory: as little as glibc lets go of."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

#: mallopt(3): free memory at the heap's end that is kept; the size from which a block is mapped by itself; heaps for
#: threads. Once set, glibc no longer raises the first two to 64 and 32 MB, which batches of spans would make it do.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_SETTINGS = {_TRIM_THRESHOLD: 256 << 10, _MMAP_THRESHOLD: 128 << 10, _ARENA_MAX: 1}


def keep_small() -> None:
    """To be called before threads start: each would have a heap of its own."""
    with suppress(AttributeError):  # musl has no mallopt, and does not need it
        for parameter, value in _SETTINGS.items():
            ctypes.CDLL(None).mallopt(parameter, value)


def give_back() -> None:
    """Frees what is left of reading executables and hands freed memory to the system.

    Tables of a large program are tens of megabytes, in objects that refer to each other; glibc keeps what they held.
    """
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
