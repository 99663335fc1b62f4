"""Duration histograms: `http.server.request.duration` and its like. Every operation counts, sampled or not.

After the metrics SDK specification (1.4x): explicit bounds with inclusive upper ends, minimum and maximum, a limit on
attribute sets with an overflow set beyond, exemplars of sampled spans, one a bucket (the aligned reservoir).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.signals.batch import Resource, Spans
from gotap.signals.codes import combine, numbered, value_at

#: Upper bounds in seconds, if a metric does not say otherwise (semconv HTTP metrics, advised for request durations).
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
#: As semconv's database metrics advise them for db.client.operation.duration.
DATABASE_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

#: Attribute sets a metric may have (metrics SDK, cardinality limits, default), besides the overflow set.
CARDINALITY_LIMIT = 2000
OVERFLOW: Mapping[str, str | int | bool] = {"otel.metric.overflow": True}


class Metric(Struct, frozen=True):
    """What the semantic conventions say of a metric."""

    description: str
    bounds: tuple[float, ...] = DURATION_BOUNDS


METRICS: Mapping[str, Metric] = {
    "http.server.request.duration": Metric("Duration of HTTP server requests."),
    "http.client.request.duration": Metric("Duration of HTTP client requests."),
    "db.client.operation.duration": Metric("Duration of database client operations.", DATABASE_BOUNDS),
}
_UNKNOWN = Metric("")


def metric_of(name: str) -> Metric:
    """A metric by name; one that is not listed has no description and the usual bounds."""
    return METRICS.get(name, _UNKNOWN)


class Temporality(IntEnum):
    """metrics.proto, AggregationTemporality."""

    DELTA = 1
    CUMULATIVE = 2


class Exemplar(Struct, frozen=True):
    value: float  # seconds
    time: int  # Unix ns
    trace_id: bytes
    span_id: bytes


class Point(Struct, frozen=True):
    """One attribute set of a histogram. `buckets` has one count more than there are bounds."""

    attributes: Mapping[str, str | int | bool]
    count: int
    sum: float  # seconds
    min: float
    max: float
    buckets: tuple[int, ...]
    exemplars: tuple[Exemplar, ...]


class Histogram(Struct, frozen=True):
    """One metric of one process at one collection; the points are over [start, time], Unix ns."""

    resource: Resource
    scope: str
    name: str
    unit: str
    description: str
    bounds: tuple[float, ...]
    temporality: Temporality
    start: int
    time: int
    points: Sequence[Point]


class Metrics:
    """The duration histograms of all operations and processes. Adding and collecting may be done by two threads."""

    def __init__(
        self,
        temporality: Temporality = Temporality.CUMULATIVE,
        *,
        limit: int = CARDINALITY_LIMIT,
        exemplars: bool = True,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`clock` gives Unix ns; `exemplars` False keeps none (OTEL_METRICS_EXEMPLAR_FILTER=always_off)."""
        self._temporality = temporality
        self._limit = limit
        self._exemplars = exemplars
        self._clock = clock
        self._since = clock()  # when counting began, also for what is first seen later; delta: the last collection
        self._lock = threading.Lock()
        self._instruments: dict[tuple[int, str, str], _Instrument] = {}

    def add(self, spans: Spans) -> None:
        """Counts a batch, if its operation has a metric."""
        metric = spans.output.metric
        if metric is None or len(spans) == 0:
            return
        key = (id(spans.resource), spans.output.scope, metric)
        with self._lock:
            instrument = self._instruments.get(key)
            if instrument is None:
                # The instrument keeps the resource, so the id stays that resource's.
                instrument = _Instrument(spans.resource, spans.output.scope, metric, self._since)
                self._instruments[key] = instrument
            instrument.add(spans, self._limit, self._exemplars)

    def collect(self) -> list[Histogram]:
        """What there is to export: since the beginning if cumulative, since the last collection if delta."""
        with self._lock:
            now = self._clock()
            collected = [one.collect(self._temporality, now) for one in self._instruments.values()]
            if self._temporality is Temporality.DELTA:
                self._since = now
                for one in self._instruments.values():
                    one.reset(now)
        return [histogram for histogram in collected if histogram.points]

    def forget(self, resource: Resource) -> None:
        """Drops what a process counted: it is gone, and its last collection is done."""
        with self._lock:
            for key in [key for key in self._instruments if key[0] == id(resource)]:
                del self._instruments[key]


@cache
def _row_type(buckets: int) -> np.dtype[np.void]:
    """One attribute set's sums, and for each bucket its last sampled operation (`time` 0: there was none)."""
    return np.dtype(
        [
            ("buckets", "i8", (buckets,)),
            ("sum", "f8"),
            ("min", "f8"),
            ("max", "f8"),
            ("value", "f8", (buckets,)),
            ("time", "u8", (buckets,)),
            ("trace_id", "u1", (buckets, 16)),
            ("span_id", "u1", (buckets, 8)),
        ]
    )


def _empty_rows(size: int, buckets: int) -> NDArray[Any]:
    rows = np.zeros(size, _row_type(buckets))
    rows["min"] = np.inf
    return rows


class _Instrument:
    """One histogram of one process."""

    def __init__(self, resource: Resource, scope: str, name: str, start: int) -> None:
        self._resource = resource
        self._scope = scope
        self._name = name
        self._metric = metric_of(name)
        self._buckets = len(self._metric.bounds) + 1
        self.reset(start)

    def reset(self, start: int) -> None:
        self._start = start
        self._row_of: dict[tuple[tuple[str, str | int | bool], ...], int] = {}
        self._overflow: int | None = None
        self._rows = _empty_rows(16, self._buckets)

    def add(self, spans: Spans, limit: int, exemplars: bool) -> None:
        rows = self._rows_of(spans, limit)
        seconds = (spans.end - spans.start).astype(np.float64) / 1e9
        buckets = np.searchsorted(self._metric.bounds, seconds, side="left")
        np.add.at(self._rows["buckets"], (rows, buckets), 1)
        np.add.at(self._rows["sum"], rows, seconds)
        np.minimum.at(self._rows["min"], rows, seconds)
        np.maximum.at(self._rows["max"], rows, seconds)
        if exemplars and spans.sampled.any():
            places = rows[spans.sampled], buckets[spans.sampled]
            for name, values in (
                ("value", seconds),
                ("time", spans.end),
                ("trace_id", spans.trace_id),
                ("span_id", spans.span_id),
            ):
                self._rows[name][places] = values[spans.sampled]  # of several, the last stays (numpy, indexing)

    def _rows_of(self, spans: Spans, limit: int) -> NDArray[np.intp]:
        """For each span the row of its attribute set."""
        keys = [key for key in spans.output.metric_attributes if key in spans.attributes]
        columns = [spans.attributes[key] for key in keys]
        codes, examples = combine([numbered(column) for column in columns], len(spans))
        table = []
        for example in examples.tolist():
            values = ((key, value_at(column, example)) for key, column in zip(keys, columns, strict=True))
            table.append(self._row(tuple((key, value) for key, value in values if value is not None), limit))
        return np.array(table, np.intp)[codes]

    def _row(self, attributes: tuple[tuple[str, str | int | bool], ...], limit: int) -> int:
        row = self._row_of.get(attributes)
        if row is not None:
            return row
        row = len(self._row_of) + (self._overflow is not None)
        if len(self._row_of) >= limit:
            if self._overflow is not None:
                return self._overflow
            self._overflow = row
        else:
            self._row_of[attributes] = row
        if row >= len(self._rows):
            larger = _empty_rows(2 * len(self._rows), self._buckets)
            larger[: len(self._rows)] = self._rows
            self._rows = larger
        return row

    def collect(self, temporality: Temporality, now: int) -> Histogram:
        points = [self._point(dict(attributes), self._rows[row]) for attributes, row in self._row_of.items()]
        if self._overflow is not None:
            points.append(self._point(OVERFLOW, self._rows[self._overflow]))
        return Histogram(
            resource=self._resource,
            scope=self._scope,
            name=self._name,
            unit="s",
            description=self._metric.description,
            bounds=self._metric.bounds,
            temporality=temporality,
            start=self._start,
            time=now,
            points=points,
        )

    def _point(self, attributes: Mapping[str, str | int | bool], row: NDArray[Any]) -> Point:
        buckets = tuple(row["buckets"].tolist())
        exemplars = (
            Exemplar(
                value=float(row["value"][bucket]),
                time=int(row["time"][bucket]),
                trace_id=row["trace_id"][bucket].tobytes(),
                span_id=row["span_id"][bucket].tobytes(),
            )
            for bucket in np.flatnonzero(row["time"]).tolist()
        )
        return Point(
            attributes=attributes,
            count=sum(buckets),
            sum=float(row["sum"]),
            min=float(row["min"]),
            max=float(row["max"]),
            buckets=buckets,
            exemplars=tuple(exemplars),
        )
