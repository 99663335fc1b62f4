"""Histograms against plain counting over the same operations."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import defaultdict

import numpy as np
import pytest
from msgspec import structs

from gotap.probe.record import RecordFlags
from gotap.signals.batch import Resource, Spans
from gotap.signals.clock import Clock
from gotap.signals.decode import Decoder
from gotap.signals.metrics import DATABASE_BOUNDS, DURATION_BOUNDS, METRICS, OVERFLOW, Metrics, Temporality, metric_of
from record_samples import SERVER, Sample, encode, request

RESOURCE = Resource({"service.name": "shop"})


class Time:
    """A clock set by hand, Unix ns."""

    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        self.now += 1
        return self.now


def decode(samples: list[Sample], resource: Resource = RESOURCE, metric: str = SERVER.metric or "") -> Spans:
    output = structs.replace(SERVER, metric=metric)
    return Decoder(output, resource, type_name=str, clock=Clock()).decode(encode(samples))


def random_samples(count: int, seed: int = 1) -> list[Sample]:
    choose = random.Random(seed)
    return [
        Sample(
            request(method=choose.choice([b"GET", b"PUT"]), status=choose.choice([200, 404, 500]), path=b"/%d" % index),
            end=1_000_000_000 + int(choose.lognormvariate(16, 3)),
            flags=choose.choice([RecordFlags.SAMPLED, RecordFlags(0)]),
            trace_id=choose.randbytes(16),
            span_id=choose.randbytes(8),
        )
        for index in range(count)
    ]


def test_points_are_what_counting_gives() -> None:
    samples = random_samples(1000)
    metrics = Metrics(clock=Time())
    for start in range(0, 1000, 97):
        metrics.add(decode(samples[start : start + 97]))
    durations = defaultdict(list)
    for sample in samples:
        status = sample.values["status"]
        durations[sample.values["method"], status].append((sample.end - sample.begin) / 1e9)
    (histogram,) = metrics.collect()
    assert (histogram.name, histogram.unit, histogram.scope) == ("http.server.request.duration", "s", "net/http")
    assert len(histogram.points) == len(durations) == 6
    for point in histogram.points:
        expected = durations[
            str(point.attributes["http.request.method"]).encode(), point.attributes["http.response.status_code"]
        ]
        buckets = [0] * (len(DURATION_BOUNDS) + 1)
        for value in expected:
            buckets[bisect_left(DURATION_BOUNDS, value)] += 1
        assert point.buckets == tuple(buckets)
        assert point.count == len(expected)
        assert point.sum == pytest.approx(sum(expected))
        assert (point.min, point.max) == (min(expected), max(expected))


def test_attributes_are_the_conventions_and_absent_ones_are_left_out() -> None:
    metrics = Metrics()
    metrics.add(decode([Sample(request()), Sample(request(status=500, pattern=None))]))
    (histogram,) = metrics.collect()
    common = {"http.request.method": "GET", "url.scheme": "http", "network.protocol.version": "1.1"}
    assert sorted((dict(point.attributes) for point in histogram.points), key=len) == [
        common | {"http.response.status_code": 200, "http.route": "/users/{id}"},
        common | {"http.response.status_code": 500, "error.type": "500"},
    ]


def test_exemplars_are_sampled_operations_of_their_bucket() -> None:
    samples = random_samples(300)
    metrics = Metrics()
    metrics.add(decode(samples))
    by_id = {sample.span_id: sample for sample in samples}
    (histogram,) = metrics.collect()
    for point in histogram.points:
        seen = set()
        for exemplar in point.exemplars:
            sample = by_id[exemplar.span_id]
            assert sample.flags & RecordFlags.SAMPLED
            assert sample.trace_id == exemplar.trace_id
            assert exemplar.value == (sample.end - sample.begin) / 1e9
            assert sample.values["status"] == point.attributes["http.response.status_code"]
            bucket = bisect_left(DURATION_BOUNDS, exemplar.value)
            assert bucket not in seen
            seen.add(bucket)
        assert seen


def test_exemplars_can_be_switched_off() -> None:
    metrics = Metrics(exemplars=False)
    metrics.add(decode(random_samples(50)))
    assert all(not point.exemplars for point in metrics.collect()[0].points)


class TestTemporality:
    def test_cumulative_goes_on_from_one_start(self) -> None:
        metrics = Metrics(Temporality.CUMULATIVE, clock=Time())
        metrics.add(decode([Sample(request())]))
        (first,) = metrics.collect()
        metrics.add(decode([Sample(request())]))
        (second,) = metrics.collect()
        assert [first.points[0].count, second.points[0].count] == [1, 2]
        assert first.start == second.start < first.time < second.time

    def test_delta_starts_anew(self) -> None:
        metrics = Metrics(Temporality.DELTA, clock=Time())
        metrics.add(decode([Sample(request(), end=2_000_000_000)]))
        (first,) = metrics.collect()
        assert metrics.collect() == []
        metrics.add(decode([Sample(request())]))
        (second,) = metrics.collect()
        assert [first.points[0].count, second.points[0].count] == [1, 1]
        assert second.points[0].max == 0.005
        assert second.start >= first.time


class TestCardinality:
    @staticmethod
    def routes(count: int) -> list[Sample]:
        return [Sample(request(pattern=b"/%d" % index)) for index in range(count)]

    @pytest.mark.parametrize("count", [1, 7, 8])
    def test_no_overflow_up_to_the_limit(self, count: int) -> None:
        metrics = Metrics(limit=8)
        metrics.add(decode(self.routes(count)))
        (histogram,) = metrics.collect()
        assert len(histogram.points) == count
        assert OVERFLOW not in [point.attributes for point in histogram.points]

    def test_sets_beyond_the_limit_are_added_up_and_none_is_lost(self) -> None:
        metrics = Metrics(limit=8)
        for _ in range(3):
            metrics.add(decode(self.routes(40)))
        (histogram,) = metrics.collect()
        assert len(histogram.points) == 9
        assert histogram.points[-1].attributes == OVERFLOW
        assert histogram.points[-1].count == 3 * 32
        assert sum(point.count for point in histogram.points) == 3 * 40

    def test_delta_makes_room_again(self) -> None:
        metrics = Metrics(Temporality.DELTA, limit=8)
        metrics.add(decode(self.routes(40)))
        metrics.collect()
        metrics.add(decode(self.routes(8)))
        assert len(metrics.collect()[0].points) == 8

    def test_default_limit(self) -> None:
        metrics = Metrics()
        metrics.add(decode(self.routes(2001)))
        assert len(metrics.collect()[0].points) == 2001


def test_processes_are_kept_apart() -> None:
    metrics = Metrics()
    other = Resource({"service.name": "other"})
    metrics.add(decode([Sample(request())]))
    metrics.add(decode([Sample(request())] * 2, other))
    assert [(one.resource, one.points[0].count) for one in metrics.collect()] == [(RESOURCE, 1), (other, 2)]
    metrics.forget(other)
    assert [one.resource for one in metrics.collect()] == [RESOURCE]


def test_nothing_counted_is_nothing_collected() -> None:
    metrics = Metrics()
    metrics.add(decode([]))
    assert metrics.collect() == []


@pytest.mark.parametrize("name", [*METRICS, "something.else"])
def test_a_metric_has_its_own_bounds_and_they_are_inclusive(name: str) -> None:
    bounds = metric_of(name).bounds
    assert np.isfinite(bounds).all()
    assert list(bounds) == sorted(set(bounds))
    metrics = Metrics()
    nanoseconds = [round(bound * 1e9) + more for bound in bounds for more in (0, 1)]
    metrics.add(decode([Sample(request(), begin=0, end=one) for one in nanoseconds], metric=name))
    [histogram] = metrics.collect()
    assert (histogram.name, histogram.bounds) == (name, bounds)
    assert histogram.points[0].buckets == (1, *[2] * (len(bounds) - 1), 1)


def test_databases_are_measured_more_finely() -> None:
    metrics = Metrics()
    metrics.add(decode([Sample(request(), begin=0, end=900_000)], metric="db.client.operation.duration"))
    metrics.add(decode([Sample(request(), begin=0, end=900_000)]))
    database, server = metrics.collect()
    assert (database.bounds, server.bounds) == (DATABASE_BOUNDS, DURATION_BOUNDS)
    assert (database.description, server.description) == (
        "Duration of database client operations.",
        "Duration of HTTP server requests.",
    )
