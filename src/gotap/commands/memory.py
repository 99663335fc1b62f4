"""What watching keeps in memory: as little as glibc lets go of."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Mapping
from contextlib import suppress

#: mallopt(3): free memory at the heap's end that is kept; the size from which a block is mapped by itself; heaps for
#: threads. Once set, glibc no longer raises the first two to 64 and 32 MB, which batches of spans would make it do.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_SETTINGS = {_TRIM_THRESHOLD: 256 << 10, _MMAP_THRESHOLD: 128 << 10, _ARENA_MAX: 1}
#: Once records are moved: what a batch takes is kept for the next one. Mapping it anew was half of a batch's CPU, a
#: page fault for every 4 KB; the heap is a few MB larger under load.
_MOVING = {_TRIM_THRESHOLD: 4 << 20, _MMAP_THRESHOLD: 2 << 20}


#: How many threads OpenBLAS, which numpy brings along, starts when it is loaded; gotap has no use for any.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def keep_small(numpy_later: bool = False) -> None:
    """To be called before numpy is loaded and before threads start: each would have a heap of its own.

    `numpy_later`: for a command that may do without numpy and starts no programs.
    """
    _set(_SETTINGS)
    if numpy_later:
        os.environ.setdefault(_BLAS_THREADS, "1")
    else:
        _load_numpy()


def keep_for_batches() -> None:
    """To be called when reading executables is done with, and batches of records come."""
    _set(_MOVING)


def _set(settings: Mapping[int, int]) -> None:
    with suppress(AttributeError):  # musl has no mallopt, and does not need it
        for parameter, value in settings.items():
            ctypes.CDLL(None).mallopt(parameter, value)


def _load_numpy() -> None:
    """Loads it without threads of its own, of which programs that gotap starts must not hear."""
    if _BLAS_THREADS in os.environ:
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[_BLAS_THREADS]


def keep_loaded() -> None:
    """Declares everything that is loaded by now as there to stay: collections, also `give_back`, look at later objects
    only, which takes 1 ms instead of 15.
    """
    gc.freeze()


def give_back() -> None:
    """Frees what is left of reading executables and hands freed memory to the system.

    Tables of a large program are tens of megabytes, in objects that refer to each other; glibc keeps what they held.
    """
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
