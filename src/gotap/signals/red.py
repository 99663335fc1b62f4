"""The RED table: rate, errors and duration of every operation by name, for a person who watches.

Fed with batches of finished operations, sampled or not; read at any moment from another thread. Durations go into
log-scale buckets (8 to the octave, so a quantile is at most 4.5 % off), both for the last seconds and for the whole time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gotap.signals.batch import Spans

#: Buckets to the octave.
_PER_OCTAVE = 8
#: Upper bound of the first bucket, seconds; shorter durations fall into it.
_SHORTEST = 1e-6
#: 27 octaves from 1 µs: 134 s; longer durations fall into the last bucket.
_BUCKETS = 27 * _PER_OCTAVE + 1

#: Upper bounds, in seconds, of `RedRow.histogram`; its last count is of everything beyond the last bound.
HISTOGRAM_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

#: Rows kept apart; the operations of further names are added up in one row with the name OTHERS.
MAX_ROWS = 500
OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds; the middle of the log-scale bucket in which the quantile lies. NaN: there was no operation."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class RedRow:
    """One line of the table: the operations of one service with one span name.

    `count`, `errors`, `total` and `histogram` are since the beginning; `rate`, `error_rate` (per second) and
    `recent` are of the last `RedTable.window` seconds (of the time since the first operation, if that is shorter).
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
