"""How much of a Go value is taken along. What is cut is marked as cut."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True):
    """`text`: bytes of a string; `elements`: of a slice, an array, a map; `depth`: pointers followed from the value;
    `total`: bytes that one event takes altogether.
    """

    text: int = 256
    elements: int = 32
    depth: int = 4
    total: int = 16384
