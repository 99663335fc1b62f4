"""Finished operations as columns: what signals make of records and what sinks consume. No object per span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from gotap.probe.record import Output

#: Texts of less than this part of a batch are copied out of the memory that all share: they may wait for long.
_SPARSE = 4


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


class Texts:
    """Texts with many distinct values, UTF-8: text i is `heap[starts[i] : starts[i] + lengths[i]]`.

    `lengths[i]` -1: the span has no such attribute.
    """

    __slots__ = ("_values", "heap", "lengths", "starts")

    def __init__(self, values: Sequence[bytes | None]) -> None:
        sizes = np.fromiter((-1 if one is None else len(one) for one in values), np.intp, len(values))
        taken = np.maximum(sizes, 0)
        self.heap = b"".join(filter(None, values))
        self.starts: NDArray[np.intp] = taken.cumsum() - taken
        self.lengths = sizes
        self._values: list[bytes | None] | None = list(values)

    @classmethod
    def within(cls, heap: bytes, starts: NDArray[np.intp], lengths: NDArray[np.intp]) -> Texts:
        """Texts that are parts of one piece of memory."""
        one = cls.__new__(cls)
        one.heap, one.starts, one.lengths, one._values = heap, starts, lengths, None
        return one

    @classmethod
    def none(cls, length: int) -> Texts:
        """A column that no span has."""
        return cls.within(b"", np.zeros(length, np.intp), np.full(length, -1, np.intp))

    def any(self) -> bool:
        """Whether some span has the attribute."""
        return int(self.lengths.max(initial=-1)) >= 0

    def at(self, row: int) -> bytes | None:
        start, length = int(self.starts[row]), int(self.lengths[row])
        return None if length < 0 else self.heap[start : start + length]

    def pieces(self) -> list[bytes]:
        """Every text, empty where the span has none."""
        heap, starts = self.heap, self.starts
        ends = starts + np.maximum(self.lengths, 0)
        return [heap[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    @property
    def values(self) -> list[bytes | None]:
        """Every text; None: the span has none. Made when it is first asked for."""
        if self._values is None:
            present = (self.lengths >= 0).tolist()
            self._values = [piece if has else None for piece, has in zip(self.pieces(), present, strict=True)]
        return self._values

    def chosen(self, rows: NDArray[np.intp] | slice) -> Texts:
        """The texts of those rows, in that order. A few of many do not keep the memory of all."""
        part = Texts.within(self.heap, self.starts[rows], self.lengths[rows])
        return part if len(part.starts) * _SPARSE >= len(self.starts) else part._apart()

    def _apart(self) -> Texts:
        """The same in memory of its own. Texts of neighbours, as a slice of a batch has, are copied in one piece."""
        kept = np.maximum(self.lengths, 0)
        some = kept > 0
        if not some.any():
            return Texts.within(b"", np.zeros(len(kept), np.intp), self.lengths)
        first, end = int(self.starts[some].min()), int((self.starts + kept)[some].max())
        if (end - first) * _SPARSE < len(self.heap):
            return Texts.within(self.heap[first:end], np.where(some, self.starts - first, 0), self.lengths)
        return Texts.within(b"".join(self.pieces()), kept.cumsum() - kept, self.lengths)


class Same(Struct):
    """One value that every span of the batch has; None: no span has the attribute."""

    value: str | int | bool | None


Column = Ints | Bools | Coded | Texts | Same


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
