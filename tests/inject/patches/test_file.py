"""Whether trampolines, and the memory that they need, are still where they were mapped."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator

import pytest

from gotap.inject.patches.file import TrampolineFile
from gotap.inject.patches.journal import Area

_PAGE = 4096


@pytest.fixture
def area() -> Iterator[Area]:
    """Memory that is named as gotap's is, in this process."""
    descriptor = os.memfd_create("gotap-test")
    os.ftruncate(descriptor, _PAGE)
    with mmap.mmap(descriptor, _PAGE) as memory:
        first = ctypes.c_char.from_buffer(memory)
        yield Area(ctypes.addressof(first), _PAGE)
        del first
    os.close(descriptor)


def test_what_trampolines_need_must_be_there_too(area: Area) -> None:
    """The process may have executed another program between the mapping of the one and of the other."""
    file = TrampolineFile(os.memfd_create("gotap-other"), [])
    try:
        assert file.is_mapped_in(os.getpid())
        file.needs = (area,)
        assert file.is_mapped_in(os.getpid())
        file.needs = (area, Area(area.address + (1 << 40), _PAGE))
        assert not file.is_mapped_in(os.getpid())
    finally:
        file.close()
