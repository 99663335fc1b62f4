"""Results of maps. Numbers of a map whose values are durations are nanoseconds; times are Unix nanoseconds."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from gotap.probe.script.bound import MapSpec


class Bucket(Struct, frozen=True):
    """`start` included, `end` excluded; None: unbounded."""

    start: int | None
    end: int | None
    count: int


class Histogram(Struct, frozen=True):
    """Buckets in ascending order, without gaps between the first and the last that hold something."""

    buckets: tuple[Bucket, ...]


class Stats(Struct, frozen=True):
    count: int
    avg: int | float
    total: int
    min: int
    max: int


class Quantiles(Struct, frozen=True):
    """`max` and `count` are exact, the others are off by 1/64 at most."""

    p50: int
    p90: int
    p99: int
    max: int
    count: int = 0
    total: int = 0


class Top(Struct, frozen=True):
    """(value, how often), the most frequent first. Values are such as those of keys."""

    values: tuple[tuple[Any, int], ...]


class Point(Struct, frozen=True):
    """One interval of a time series: Unix ns, `end` excluded. `count`: of the values that `value` is made of."""

    start: int
    end: int
    value: int | float
    count: int


class Series(Struct, frozen=True):
    """Intervals that hold something, ascending."""

    points: tuple[Point, ...]


#: Of VALUE maps a text too, such as in keys.
MapValue = int | float | bool | str | Stats | Histogram | Quantiles | Top | Series | Any


class MapEntry(Struct, frozen=True):
    """`key`: one value for each of the map's keys: int, bool, str, values.model.Text, a list of frames."""

    key: tuple[Any, ...]
    value: MapValue


class MapResult(Struct, frozen=True):
    """`entries`: the largest first: by their value, or by how many values they are made of.

    `sampled_of`: one firing of so many was taken when least were, of those probes that store into it; 1: all were.
    """

    spec: MapSpec
    entries: tuple[MapEntry, ...]
    sampled_of: int = 1
