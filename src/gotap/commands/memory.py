"""Memory that opening targets took and watching them does not need."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """Frees what is left of reading executables and hands freed memory to the system.

    Tables of a large program are tens of megabytes, in objects that refer to each other; glibc keeps what they held.
    """
    gc.collect()
    with suppress(AttributeError):  # musl has no malloc_trim, and needs none
        ctypes.CDLL(None).malloc_trim(0)
