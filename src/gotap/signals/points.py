"""Metrics of any kind that OTLP has, as plain points (metrics.proto of opentelemetry-proto 1.x)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gotap.signals.batch import Resource
from gotap.signals.metrics import Temporality

Attributes = Mapping[str, str | int | bool]


class NumberPoint(Struct, frozen=True):
    attributes: Attributes
    value: int | float


class BucketsPoint(Struct, frozen=True):
    """A histogram with bounds of its own: `counts` has one more than there are `bounds`, which belong to the bucket
    below them. `sum` None: not known."""

    attributes: Attributes
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float | None = None


class QuantilesPoint(Struct, frozen=True):
    """`quantiles`: (quantile from 0 to 1, value)."""

    attributes: Attributes
    count: int
    sum: float
    quantiles: tuple[tuple[float, float], ...]


class Sum(Struct, frozen=True):
    points: tuple[NumberPoint, ...]
    monotonic: bool


class Gauge(Struct, frozen=True):
    points: tuple[NumberPoint, ...]


class Buckets(Struct, frozen=True):
    points: tuple[BucketsPoint, ...]


class Quantiles(Struct, frozen=True):
    points: tuple[QuantilesPoint, ...]


class Metric(Struct, frozen=True):
    """One metric at one collection; its points are over [start, time], Unix ns."""

    resource: Resource
    scope: str
    name: str
    unit: str
    description: str
    start: int
    time: int
    data: Sum | Gauge | Buckets | Quantiles
    temporality: Temporality = Temporality.CUMULATIVE
