"""The shapes as maps that programs read: arrays that are filled at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.codegen.script.deep_memory import DESCRIPTORS, SHAPE_POINTERS, SHAPES
from gotap.bpf.machine import Machine, Map
from gotap.errors import GotapError
from gotap.probe.shapes import Dynamic

__all__ = ["descriptor_pairs", "shape_maps"]


def descriptor_pairs(dynamic: Dynamic) -> NDArray[np.uint64]:
    """Values of the map DESCRIPTORS: of each two descriptors in a row the shapes, two u32."""
    numbers = np.zeros(len(dynamic.numbers) + 1 & ~1, np.uint32)
    numbers[: len(dynamic.numbers)] = dynamic.numbers
    return numbers.view(np.uint64)


def shape_maps(machine: Machine, table: tuple[NDArray[np.void], NDArray[np.void]], dynamic: Dynamic
               ) -> Mapping[str, Map]:  # fmt: skip
    """The maps by the names programs refer to them. The caller closes them; an error says why there are none."""
    heads, pointers = table
    made: dict[str, Map] = {}
    try:
        for name, rows in ((SHAPES, heads), (SHAPE_POINTERS, pointers), (DESCRIPTORS, descriptor_pairs(dynamic))):
            made[name] = machine.make_array(name, rows)
    except GotapError:
        for one in made.values():
            one.close()
        raise
    return made
