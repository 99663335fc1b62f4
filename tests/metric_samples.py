"""Histograms, and what opentelemetry-proto makes of them: the oracle of our encoders."""

from __future__ import annotations

import random

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1 import resource_pb2

from gotap.signals.batch import Resource
from gotap.signals.metrics import DURATION_BOUNDS, Exemplar, Histogram, Point, Temporality
from span_samples import RESOURCE, any_value


def histograms(seed: int) -> list[Histogram]:
    choose = random.Random(seed)

    def point(index: int) -> Point:
        buckets = tuple(choose.choice([0, 1, 300, 2**40]) for _ in range(len(DURATION_BOUNDS) + 1))
        exemplars = tuple(
            Exemplar(choose.random(), choose.randrange(2**63), choose.randbytes(16), choose.randbytes(8))
            for _ in range(choose.randrange(3))
        )
        attributes = {"http.route": f"/é{index}", "http.response.status_code": 200, "otel.metric.overflow": True}
        return Point(attributes, sum(buckets), choose.random(), 0.0, choose.random() * 100, buckets, exemplars)

    def histogram(resource: Resource) -> Histogram:
        return Histogram(
            resource=resource,
            scope="net/http",
            name="http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            bounds=DURATION_BOUNDS,
            temporality=choose.choice(list(Temporality)),
            start=choose.randrange(2**63),
            time=choose.randrange(2**63),
            points=[point(index) for index in range(choose.randrange(1, 5))],
        )

    return [histogram(RESOURCE), histogram(Resource({"service.name": "other"}))]


def _point(one: Histogram, point: Point) -> pb.HistogramDataPoint:
    return pb.HistogramDataPoint(
        attributes=[KeyValue(key=key, value=any_value(value)) for key, value in point.attributes.items()],
        start_time_unix_nano=one.start,
        time_unix_nano=one.time,
        count=point.count,
        sum=point.sum,
        min=point.min,
        max=point.max,
        bucket_counts=point.buckets,
        explicit_bounds=one.bounds,
        exemplars=[
            pb.Exemplar(time_unix_nano=each.time, as_double=each.value, span_id=each.span_id, trace_id=each.trace_id)
            for each in point.exemplars
        ],
    )


def expected_metrics(all_of_them: list[Histogram], version: str) -> pb.MetricsData:
    """The histograms as opentelemetry-proto's objects."""
    data = pb.MetricsData()
    for one in all_of_them:
        points = [_point(one, point) for point in one.points]
        metric = pb.Metric(
            name=one.name,
            description=one.description,
            unit=one.unit,
            histogram=pb.Histogram(data_points=points, aggregation_temporality=int(one.temporality)),  # type: ignore[arg-type]
        )
        attributes = [KeyValue(key=key, value=any_value(value)) for key, value in one.resource.attributes.items()]
        scope = InstrumentationScope(name=one.scope, version=version)
        data.resource_metrics.append(
            pb.ResourceMetrics(
                resource=resource_pb2.Resource(attributes=attributes),
                scope_metrics=[pb.ScopeMetrics(scope=scope, metrics=[metric])],
            )
        )
    return data
