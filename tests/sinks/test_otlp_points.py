"""Metrics of every kind against opentelemetry-proto: the protobuf and the JSON form say the same."""

from __future__ import annotations

import pytest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from gotap.signals.metrics import Temporality
from gotap.signals.points import (
    Buckets,
    BucketsPoint,
    Gauge,
    Metric,
    NumberPoint,
    Quantiles,
    QuantilesPoint,
    Sum,
)
from gotap.sinks.otlp_points import encode_metric, encode_metric_json
from otlp_json_reader import read_metrics
from span_samples import RESOURCE, any_value

DATA = {
    "sum": Sum((NumberPoint({"k0": "é"}, 7), NumberPoint({"k0": "b", "k1": True}, 2**63 - 1)), monotonic=True),
    "gauge": Gauge((NumberPoint({"k0": 3}, 0.25), NumberPoint({}, -4))),
    "histogram": Buckets((BucketsPoint({"k0": "x"}, (0.0, 1.0, 3.0), (0, 2, 2**40, 1)),)),
    "summary": Quantiles((QuantilesPoint({}, 10, 12.5, ((0.5, 1.0), (0.99, 7.5), (1.0, 8.0))),)),
}


def metric(kind: str) -> Metric:
    return Metric(RESOURCE, "gotap.trace", f"gotap.trace.{kind}", "ns", "@m = …", 5, 2**62, DATA[kind])


@pytest.mark.parametrize("kind", DATA)
def test_both_forms_say_the_same(kind: str) -> None:
    line = encode_metric_json(metric(kind), "1.2.3")
    assert b"\n" not in line
    read = pb.MetricsData.FromString(encode_metric(metric(kind), "1.2.3"))
    assert read == read_metrics(line)
    scope = read.resource_metrics[0].scope_metrics[0]
    assert (scope.scope.name, scope.scope.version) == ("gotap.trace", "1.2.3")
    (one,) = scope.metrics
    assert (one.name, one.unit, one.description) == (f"gotap.trace.{kind}", "ns", "@m = …")
    assert one.WhichOneof("data") == kind
    for point in getattr(one, kind).data_points:
        assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 2**62)


def test_numbers() -> None:
    (one,) = pb.MetricsData.FromString(encode_metric(metric("sum"))).resource_metrics[0].scope_metrics[0].metrics
    assert one.sum.is_monotonic
    assert one.sum.aggregation_temporality == Temporality.CUMULATIVE
    assert [point.as_int for point in one.sum.data_points] == [7, 2**63 - 1]
    assert [pair.value for pair in one.sum.data_points[1].attributes] == [any_value("b"), any_value(True)]
    (one,) = pb.MetricsData.FromString(encode_metric(metric("gauge"))).resource_metrics[0].scope_metrics[0].metrics
    assert one.gauge.data_points[0].as_double == 0.25
    assert one.gauge.data_points[1].as_int == -4


def test_distributions() -> None:
    (one,) = pb.MetricsData.FromString(encode_metric(metric("histogram"))).resource_metrics[0].scope_metrics[0].metrics
    (point,) = one.histogram.data_points
    assert list(point.explicit_bounds) == [0.0, 1.0, 3.0]
    assert list(point.bucket_counts) == [0, 2, 2**40, 1]
    assert point.count == 2**40 + 3
    assert not point.HasField("sum")
    (one,) = pb.MetricsData.FromString(encode_metric(metric("summary"))).resource_metrics[0].scope_metrics[0].metrics
    (summary,) = one.summary.data_points
    assert (summary.count, summary.sum) == (10, 12.5)
    assert [(one.quantile, one.value) for one in summary.quantile_values] == [(0.5, 1.0), (0.99, 7.5), (1.0, 8.0)]
