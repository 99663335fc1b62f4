"""The shapes as maps of the kernel: arrays that are mapped and filled at once."""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.codegen.script.deep_memory import DESCRIPTORS, SHAPE_POINTERS, SHAPES
from gotap.bpf.enums import MapFlags, MapType
from gotap.errors import GotapError
from gotap.kernel.bpf import Map
from gotap.kernel.errors import MapError, errno_text
from gotap.probe.shapes import Dynamic

__all__ = ["descriptor_pairs", "shape_maps"]


def descriptor_pairs(dynamic: Dynamic) -> NDArray[np.uint64]:
    """Values of the map DESCRIPTORS: of each two descriptors in a row the shapes, two u32."""
    numbers = np.zeros(len(dynamic.numbers) + 1 & ~1, np.uint32)
    numbers[: len(dynamic.numbers)] = dynamic.numbers
    return numbers.view(np.uint64)


def shape_maps(table: tuple[NDArray[np.void], NDArray[np.void]], dynamic: Dynamic) -> Mapping[str, Map]:
    """The maps by the names programs refer to them. The caller closes them; MapError says why there are none."""
    heads, pointers = table
    made: dict[str, Map] = {}
    try:
        for name, rows in ((SHAPES, heads), (SHAPE_POINTERS, pointers), (DESCRIPTORS, descriptor_pairs(dynamic))):
            made[name] = _filled(name, rows)
    except GotapError:
        for one in made.values():
            one.close()
        raise
    return made


def _filled(name: str, rows: NDArray[np.void] | NDArray[np.uint64]) -> Map:
    """An array with one element for each row, one at least. Rows are a multiple of 8 bytes, as elements are."""
    count = max(1, len(rows))
    made = Map.create(MapType.ARRAY, 4, rows.itemsize, count, MapFlags.MMAPABLE, name)
    try:
        with mmap.mmap(made.fd, count * rows.itemsize, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
            memory.write(np.ascontiguousarray(rows).view(np.uint8).data)
    except OSError as error:
        made.close()
        number = error.errno or 0
        raise MapError(f"cannot fill BPF map {name}: {errno_text(number)}", errno=number) from error
    return made
