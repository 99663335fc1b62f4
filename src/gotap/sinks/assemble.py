"""Spans by columns: every span's text or bytes put together from pieces, with no object a span but its own pieces.

What few values are combined to (name, method, route, status …) is written once a combination and batch; what every
span has of its own (ids, times, free texts) is laid out by columns. A format says how each piece is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gotap.signals.batch import Bools, Coded, Ints, Same, Spans, Texts
from gotap.signals.codes import Codes, combine, number
from gotap.signals.memory import Memory

#: trace.proto, enum SpanKind.
SPAN_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}

Rows = NDArray[np.intp] | None  # None: all of a batch's rows

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: A column with more distinct values than this stays out of the combinations: it would multiply them.
_FEW = 32


_NO_CODES: Codes = np.zeros(0, np.intp)


class Pieces(NamedTuple):
    """A piece of every span: row i's is `table[codes[i]]`; a table of one piece is everybody's, and has no codes."""

    codes: Codes
    table: list[bytes]

    def each(self, count: int) -> list[bytes]:
        """The piece of each of `count` spans."""
        table = self.table
        return table * count if len(table) == 1 else [table[code] for code in self.codes.tolist()]

    def lengths(self) -> NDArray[np.intp]:
        """Bytes of each span's piece; one number where all have the same."""
        lengths = np.fromiter(map(len, self.table), np.intp, len(self.table))
        return lengths if len(lengths) == 1 else lengths[self.codes]


class SpanAssembler(ABC):
    """What formats have in common. Pieces of a span come in this order: trace state, name, kind, status, attributes."""

    #: The status when it is unset, and when it is ERROR.
    statuses: ClassVar[tuple[bytes, bytes]]

    def __init__(self) -> None:
        self._attributes: Memory[tuple[str, str | int], bytes] = Memory()

    @abstractmethod
    def trace_state(self, value: bytes) -> bytes: ...

    @abstractmethod
    def named(self, name: str, kind: int) -> bytes: ...

    @abstractmethod
    def attribute(self, key: str, value: str | int | bool) -> bytes: ...

    def pieces(self, spans: Spans, rows: Rows, count: int) -> Iterator[Pieces]:
        """All but ids, times and free texts, of the `count` chosen rows."""
        if spans.trace_state.any():
            states = taken(spans.trace_state, rows)
            known: dict[bytes | None, int] = {}
            codes = [known.setdefault(one, len(known)) for one in states.values]
            yield _pieces(np.array(codes, np.intp), [b"" if one is None else self.trace_state(one) for one in known])
        yield from self._combined(spans, rows, count)

    def _combined(self, spans: Spans, rows: Rows, count: int) -> Iterator[Pieces]:
        """What has few values, written by combination; then, each by itself, columns with many values."""
        kind = SPAN_KINDS[spans.output.kind]
        few = [
            _pieces(chosen(spans.name.codes, rows), [self.named(name, kind) for name in spans.name.values]),
            _pieces(chosen(spans.error, rows), list(self.statuses)),
        ]
        many: list[Pieces] = []
        for key, column in spans.attributes.items():
            if not isinstance(column, Texts):
                written = self._written(key, column, rows)
                (few if len(written.table) <= _FEW else many).append(written)
        combination, examples = combine([(one.codes, len(one.table)) for one in few], count)
        yield Pieces(combination, list(map(b"".join, zip(*_at(few, examples), strict=True))))
        yield from many

    def _written(self, key: str, column: Ints | Bools | Coded | Same, rows: Rows) -> Pieces:
        """An attribute's pieces, empty where it is absent."""
        if isinstance(column, Same):
            return Pieces(_NO_CODES, [b"" if column.value is None else self._remembered(key, column.value)])
        if isinstance(column, Coded):
            codes = chosen(column.codes, rows).astype(np.intp) + 1
            return Pieces(codes, [b"", *(self._remembered(key, value) for value in column.values)])
        present = chosen(column.present, rows)
        if isinstance(column, Bools):
            truth = chosen(column.values, rows).astype(np.intp) + 1
            return Pieces(np.where(present, truth, 0), [b"", self.attribute(key, False), self.attribute(key, True)])
        values = chosen(column.values, rows)
        codes, examples = number(values)
        table = [b"", *(self._remembered(key, value) for value in values[examples].tolist())]
        return Pieces(np.where(present, codes + 1, 0), table)

    def _remembered(self, key: str, value: str | int | bool) -> bytes:
        if isinstance(value, bool):  # equal to a number, and written otherwise
            return self.attribute(key, value)
        known = self._attributes.get((key, value))
        return self._attributes.keep((key, value), self.attribute(key, value)) if known is None else known


def _pieces(codes: NDArray[Any], table: list[bytes]) -> Pieces:
    """Pieces of which perhaps one alone occurs."""
    low, high = int(codes.min()), int(codes.max())
    return Pieces(_NO_CODES, [table[low]]) if low == high else Pieces(codes.astype(np.intp), table)


def _at(columns: Sequence[Pieces], examples: Codes) -> Iterator[list[bytes]]:
    for codes, table in columns:
        yield table * len(examples) if len(table) == 1 else [table[code] for code in codes[examples].tolist()]


def sampled(spans: Spans) -> tuple[Rows, int]:
    """Which rows are exported, and how many they are."""
    rows = None if spans.sampled.all() else np.flatnonzero(spans.sampled)
    return rows, len(spans) if rows is None else len(rows)


def free_texts(spans: Spans, rows: Rows) -> Iterator[tuple[str, Texts]]:
    """The attributes with many distinct values, by key, of the chosen rows."""
    for key, column in spans.attributes.items():
        if isinstance(column, Texts):
            yield key, taken(column, rows)


def chosen(column: NDArray[_Scalar], rows: Rows) -> NDArray[_Scalar]:
    return column if rows is None else column[rows]


def taken(texts: Texts, rows: Rows) -> Texts:
    return texts if rows is None else texts.chosen(rows)
