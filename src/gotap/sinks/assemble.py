"""Spans by columns: every span's text or bytes joined from pieces, with no object a span but its result.

What few values are combined to (name, method, route, status …) is written once a combination and batch; what every
span has of its own (ids, times, free texts) is laid out by columns. A format says how each piece is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from gotap.signals.batch import Bools, Coded, Ints, Spans, Texts
from gotap.signals.codes import Codes, combine, number

#: trace.proto, enum SpanKind.
SPAN_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}

Rows = NDArray[np.intp] | None  # None: all of a batch's rows

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: Attributes remembered as they were written; beyond, they are all forgotten.
_MEMORY = 8192

#: A column with more distinct values than this stays out of the combinations: it would multiply them.
_FEW = 32


class SpanAssembler(ABC):
    """Joins each span from pieces in this order: fixed, trace state, name and kind, status, attributes."""

    #: The status when it is unset, and when it is ERROR.
    statuses: ClassVar[tuple[bytes, bytes]]

    def __init__(self) -> None:
        self._attributes: dict[tuple[str, str | int], bytes] = {}

    @abstractmethod
    def fixed(self, spans: Spans, rows: Rows) -> list[bytes]:
        """Ids, flags and times of each span; the parent's id where there is one."""

    @abstractmethod
    def trace_state(self, value: bytes) -> bytes: ...

    @abstractmethod
    def named(self, name: str, kind: int) -> bytes: ...

    @abstractmethod
    def attribute(self, key: str, value: str | int | bool) -> bytes: ...

    @abstractmethod
    def texts(self, key: str, values: Iterable[bytes | None]) -> list[bytes]:
        """One attribute of every span, UTF-8; empty where it is None."""

    def bodies(self, spans: Spans) -> list[bytes]:
        """The sampled spans, one by one."""
        rows = None if spans.sampled.all() else np.flatnonzero(spans.sampled)
        count = len(spans) if rows is None else len(rows)
        if count == 0:
            return []
        parts = [self.fixed(spans, rows)]
        if any(spans.trace_state.values):
            states = taken(spans.trace_state.values, rows)
            parts.append([b"" if one is None else self.trace_state(one) for one in states])
        parts.extend(self._combined(spans, rows, count))
        for key, column in spans.attributes.items():
            if isinstance(column, Texts):
                parts.append(self.texts(key, taken(column.values, rows)))
        return list(map(b"".join, zip(*parts, strict=True)))

    def _combined(self, spans: Spans, rows: Rows, count: int) -> Iterable[list[bytes]]:
        """The pieces with few values, written by combination; then, each by itself, columns with many values."""
        kind = SPAN_KINDS[spans.output.kind]
        few: list[tuple[Codes, list[bytes]]] = [
            (chosen(spans.name.codes, rows).astype(np.intp), [self.named(name, kind) for name in spans.name.values]),
            (chosen(spans.error, rows).astype(np.intp), list(self.statuses)),
        ]
        many: list[list[bytes]] = []
        for key, column in spans.attributes.items():
            if isinstance(column, Texts):
                continue
            codes, pieces = self._pieces(key, column, rows)
            if len(pieces) <= _FEW:
                few.append((codes, pieces))
            else:
                many.append([pieces[code] for code in codes.tolist()])
        combination, examples = combine([(codes, len(pieces)) for codes, pieces in few], count)
        columns = [[pieces[code] for code in codes[examples].tolist()] for codes, pieces in few]
        joined = list(map(b"".join, zip(*columns, strict=True)))
        yield [joined[code] for code in combination.tolist()]
        yield from many

    def _pieces(self, key: str, column: Ints | Bools | Coded, rows: Rows) -> tuple[Codes, list[bytes]]:
        """(codes, pieces) of an attribute: row i's is `pieces[codes[i]]`, empty where it is absent."""
        if isinstance(column, Coded):
            codes = chosen(column.codes, rows).astype(np.intp) + 1
            return codes, [b"", *(self._remembered(key, value) for value in column.values)]
        present = chosen(column.present, rows)
        if isinstance(column, Bools):
            truth = chosen(column.values, rows).astype(np.intp) + 1
            return np.where(present, truth, 0), [b"", self.attribute(key, False), self.attribute(key, True)]
        values = chosen(column.values, rows)
        codes, examples = number(values)
        pieces = [b"", *(self._remembered(key, value) for value in values[examples].tolist())]
        return np.where(present, codes + 1, 0), pieces

    def _remembered(self, key: str, value: str | int) -> bytes:
        known = self._attributes.get((key, value))
        if known is None:
            if len(self._attributes) >= _MEMORY:
                self._attributes.clear()
            known = self._attributes[key, value] = self.attribute(key, value)
        return known


def chosen(column: NDArray[_Scalar], rows: Rows) -> NDArray[_Scalar]:
    return column if rows is None else column[rows]


def taken(values: list[bytes | None], rows: Rows) -> list[bytes | None]:
    return values if rows is None else [values[row] for row in rows.tolist()]
