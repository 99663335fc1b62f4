"""Finished operations as columns: what signals make of records and what sinks consume. No object per span."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from gotap.probe.record import Output


class Ints(Struct):
    """64-bit integers; `present[i]` False: the span has no such attribute."""

    values: NDArray[np.int64]
    present: NDArray[np.bool_]


class Bools(Struct):
    """Truth values; `present[i]` False: the span has no such attribute."""

    values: NDArray[np.bool_]
    present: NDArray[np.bool_]


class Coded(Struct):
    """Texts with few distinct values: `codes[i]` indexes `values`, -1: the span has no such attribute."""

    codes: NDArray[np.int32]
    values: list[str]


class Texts(Struct):
    """Texts with many distinct values: `values[i]` as UTF-8, None: the span has no such attribute."""

    values: list[bytes | None]


Column = Ints | Bools | Coded | Texts


class Resource(Struct, frozen=True):
    """Resource attributes of one watched process, by OpenTelemetry's names."""

    attributes: Mapping[str, str | int | bool | tuple[str, ...]]


class Spans(Struct):
    """n finished operations of one operation and one process, in the order they came.

    Times are Unix nanoseconds. `sampled[i]` False: counts in metrics, is not exported as a span.
    `flags` is the W3C trace-flags byte with OTLP's has-remote-parent bits (0x100, 0x200) as in `Span.flags`.
    """

    output: Output
    resource: Resource
    trace_id: NDArray[np.uint8]  # (n, 16)
    span_id: NDArray[np.uint8]  # (n, 8)
    parent_id: NDArray[np.uint8]  # (n, 8), zeros: none
    trace_state: Texts
    flags: NDArray[np.uint32]
    sampled: NDArray[np.bool_]
    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    name: Coded
    error: NDArray[np.bool_]  # span status ERROR
    attributes: dict[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.start)
