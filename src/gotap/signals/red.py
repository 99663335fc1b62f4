"""The RED table: rate, errors and duration of every operation by name, for a person who watches.

Fed with batches of finished operations, sampled or not; read at any moment from another thread. Durations go into
log-scale buckets, 8 to the octave, so that a quantile is at most 4.5 % off, once for the last seconds and once for all.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.signals.batch import Spans

#: Upper bounds, in seconds, of `RedRow.histogram`; its last count is of everything beyond the last bound.
HISTOGRAM_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Rows kept apart; operations of further names are added up in one row of the name OTHERS.
MAX_ROWS = 500
OTHERS = "(others)"

_PER_OCTAVE = 8
#: Upper bound of the first log-scale bucket, seconds; shorter durations fall into it.
_SHORTEST = 1e-6
#: 27 octaves from 1 µs: 134 s; longer durations fall into the last bucket.
_BUCKETS = 27 * _PER_OCTAVE + 1


class Quantiles(Struct, frozen=True):
    """Seconds: the middle of the log-scale bucket in which the quantile lies. NaN: there was no operation."""

    p50: float
    p95: float
    p99: float


class RedRow(Struct, frozen=True):
    """One line of the table: the operations of one service with one span name.

    `count`, `errors`, `total` and `histogram` are since the beginning; `rate`, `error_rate` (per second) and
    `recent` are of the table's window (of the time since its first operation, at least a second, if that is shorter).
    """

    service: str
    operation: str  # Output.operation: http.server
    kind: str  # Output.kind
    name: str  # span name: GET /users/{id}
    count: int
    errors: int
    rate: float
    error_rate: float
    recent: Quantiles
    total: Quantiles
    histogram: tuple[int, ...]  # len(HISTOGRAM_BOUNDS) + 1 counts


_Key = tuple[str, str, str, str]  # service, operation, kind, name


class RedTable:
    """Adds up finished operations by service and span name.

    `window`: seconds that `rate` and `recent` look back. `clock` gives seconds, monotonic. An operation counts in the
    second in which it was added, not in which it ended.
    """

    def __init__(self, *, window: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        self.window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._series: dict[_Key, int] = {}
        self._first: float | None = None
        self._second = 0  # the one that `_recent_*` were last moved on to
        self._slots = window + 1  # whole seconds of the window, and the one that runs
        self._counts = np.zeros((0, 2), np.int64)  # operations, errors
        self._histogram = np.zeros((0, len(HISTOGRAM_BOUNDS) + 1), np.int64)
        self._total = np.zeros((0, _BUCKETS), np.int64)
        self._recent_counts = np.zeros((0, self._slots, 2), np.int64)
        self._recent = np.zeros((0, self._slots, _BUCKETS), np.int32)

    def add(self, spans: Spans) -> None:
        if len(spans) == 0:
            return
        seconds = (spans.end - spans.start).astype(np.float64) / 1e9
        octaves = np.log2(np.maximum(seconds, _SHORTEST) / _SHORTEST)
        buckets = np.minimum(np.ceil(octaves * _PER_OCTAVE - 1e-9), _BUCKETS - 1).astype(np.intp)
        coarse = np.searchsorted(HISTOGRAM_BOUNDS, seconds, side="left")
        service = str(spans.resource.attributes.get("service.name", ""))
        with self._lock:
            slot = self._advance()
            table = [self._row(service, spans, name) for name in spans.name.values]
            rows = np.array(table, np.intp)[spans.name.codes]
            failed = rows[spans.error]
            np.add.at(self._counts[:, 0], rows, 1)
            np.add.at(self._counts[:, 1], failed, 1)
            np.add.at(self._histogram, (rows, coarse), 1)
            np.add.at(self._total, (rows, buckets), 1)
            np.add.at(self._recent_counts[:, slot, 0], rows, 1)
            np.add.at(self._recent_counts[:, slot, 1], failed, 1)
            np.add.at(self._recent[:, slot], (rows, buckets), 1)

    def rows(self) -> list[RedRow]:
        """The table as it is now, the names with most operations first."""
        with self._lock:
            self._advance()
            elapsed = self._elapsed()
            rows = [self._read(key, index, elapsed) for key, index in self._series.items()]
        return sorted(rows, key=lambda row: (-row.count, row.service, row.name))

    def _elapsed(self) -> float:
        """Seconds that the slots cover."""
        now = self._clock()
        covered = self.window + now % 1.0
        return max(min(covered, now - (now if self._first is None else self._first)), 1.0)

    def _advance(self) -> int:
        """The slot of the running second; those of seconds that have left the window are emptied."""
        now = self._clock()
        if self._first is None:
            self._first = now
        second = int(now)
        for passed in range(max(self._second + 1, second - self._slots + 1), second + 1):
            self._recent[:, passed % self._slots] = 0
            self._recent_counts[:, passed % self._slots] = 0
        self._second = max(second, self._second)
        return self._second % self._slots

    def _row(self, service: str, spans: Spans, name: str) -> int:
        key = (service, spans.output.operation, spans.output.kind, name)
        row = self._series.get(key)
        if row is None and len(self._series) >= MAX_ROWS - 1:
            key = ("", "", "", OTHERS)
            row = self._series.get(key)
        if row is None:
            row = self._series[key] = len(self._series)
            if row >= len(self._counts):
                self._grow(max(16, 2 * row))
        return row

    def _grow(self, size: int) -> None:
        def grown(array: NDArray[Any]) -> NDArray[Any]:
            larger = np.zeros((size, *array.shape[1:]), array.dtype)
            larger[: len(array)] = array
            return larger

        self._counts, self._recent_counts = grown(self._counts), grown(self._recent_counts)
        self._total, self._recent = grown(self._total), grown(self._recent)
        self._histogram = grown(self._histogram)

    def _read(self, key: _Key, index: int, elapsed: float) -> RedRow:
        recent, recent_errors = self._recent_counts[index].sum(axis=0).tolist()
        count, errors = self._counts[index].tolist()
        return RedRow(
            *key,
            count=count,
            errors=errors,
            rate=recent / elapsed,
            error_rate=recent_errors / elapsed,
            recent=quantiles(self._recent[index].sum(axis=0)),
            total=quantiles(self._total[index]),
            histogram=tuple(self._histogram[index].tolist()),
        )


def quantiles(buckets: NDArray[Any]) -> Quantiles:
    """Quantiles of counts in this module's log-scale buckets."""
    cumulative = np.cumsum(buckets)
    count = int(cumulative[-1])
    if count == 0:
        return Quantiles(math.nan, math.nan, math.nan)
    ranks = [max(math.ceil(count * share), 1) for share in (0.50, 0.95, 0.99)]
    found = np.searchsorted(cumulative, ranks, side="left")
    return Quantiles(*(_SHORTEST * 2.0 ** ((float(bucket) - 0.5) / _PER_OCTAVE) for bucket in found))
