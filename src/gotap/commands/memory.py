"""What watching keeps in memory: as little as glibc lets go of."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress

#: mallopt(3): free memory at the heap's end that is kept; the size from which a block is mapped by itself; heaps for
#: threads. Once set, glibc no longer raises the first two to 64 and 32 MB, which batches of spans would make it do.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_SETTINGS = {_TRIM_THRESHOLD: 256 << 10, _MMAP_THRESHOLD: 128 << 10, _ARENA_MAX: 1}


#: How many threads OpenBLAS, which numpy brings along, starts when it is loaded; gotap has no use for any.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def keep_small() -> None:
    """To be called before numpy is loaded and before threads start: each would have a heap of its own."""
    with suppress(AttributeError):  # musl has no mallopt, and does not need it
        for parameter, value in _SETTINGS.items():
            ctypes.CDLL(None).mallopt(parameter, value)
    _load_numpy()


def _load_numpy() -> None:
    """Loads it without threads of its own, of which programs that gotap starts must not hear."""
    if _BLAS_THREADS in os.environ:
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[_BLAS_THREADS]


def give_back() -> None:
    """Frees what is left of reading executables and hands freed memory to the system.

    Tables of a large program are tens of megabytes, in objects that refer to each other; glibc keeps what they held.
    """
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
