"""Metrics of every kind to OTLP, protobuf and JSON. Field numbers: opentelemetry-proto 1.x, metrics.proto (stable)."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from gotap import __version__
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
from gotap.sinks.otlp_encode import resource_field, scope_field
from gotap.sinks.otlp_json import key_values_json, resource_json
from gotap.sinks.protobuf import delimited, double, fixed64, key_values, varint

_json = msgspec.json.Encoder().encode


# Protobuf


def encode_metric(one: Metric, version: str = __version__) -> bytes:
    """An ExportMetricsServiceRequest."""
    return delimited(
        1, resource_field(one.resource) + delimited(2, scope_field(one.scope, version) + delimited(2, _metric(one)))
    )


def _metric(one: Metric) -> bytes:
    texts = ((1, one.name), (2, one.description), (3, one.unit))
    head = b"".join(delimited(number, text.encode("utf-8", "replace")) for number, text in texts)
    times = fixed64(2, one.start) + fixed64(3, one.time)
    temporality = b"\x10" + varint(one.temporality)
    match one.data:
        case Gauge(points):
            return head + delimited(5, _each(times, map(_number, points)))
        case Sum(points, monotonic):
            kind = temporality + (b"\x18\x01" if monotonic else b"")
            return head + delimited(7, _each(times, map(_number, points)) + kind)
        case Buckets(buckets):
            return head + delimited(9, _each(times, map(_buckets, buckets)) + temporality)
        case Quantiles(quantiles):
            return head + delimited(11, _each(times, map(_quantiles, quantiles)))


def _each(times: bytes, points: Any) -> bytes:
    return b"".join(delimited(1, times + point) for point in points)


def _number(point: NumberPoint) -> bytes:
    value = point.value
    written = double(4, value) if isinstance(value, float) else fixed64(6, int(value) & 0xFFFF_FFFF_FFFF_FFFF)
    return key_values(7, point.attributes.items()) + written


def _buckets(point: BucketsPoint) -> bytes:
    return (
        key_values(9, point.attributes.items())
        + fixed64(4, sum(point.counts))
        + (b"" if point.sum is None else double(5, point.sum))
        + delimited(6, struct.pack(f"<{len(point.counts)}Q", *point.counts))
        + delimited(7, struct.pack(f"<{len(point.bounds)}d", *point.bounds))
    )


def _quantiles(point: QuantilesPoint) -> bytes:
    values = (delimited(6, double(1, quantile) + double(2, value)) for quantile, value in point.quantiles)
    return (
        key_values(7, point.attributes.items()) + fixed64(4, point.count) + double(5, point.sum) + b"".join(values)
    )


# JSON


def encode_metric_json(one: Metric, version: str = __version__) -> bytes:
    """A MetricsData object, without a line's end."""
    metric = {"name": one.name, "description": one.description, "unit": one.unit, **_data(one)}
    scope = {"scope": {"name": one.scope, "version": version}, "metrics": [metric]}
    return _json({"resourceMetrics": [{"resource": resource_json(one.resource), "scopeMetrics": [scope]}]})


def _data(one: Metric) -> dict[str, Any]:
    times = {"startTimeUnixNano": str(one.start), "timeUnixNano": str(one.time)}
    temporality = {"aggregationTemporality": int(one.temporality)}
    match one.data:
        case Gauge(points):
            return {"gauge": {"dataPoints": [times | _number_json(point) for point in points]}}
        case Sum(points, monotonic):
            written = [times | _number_json(point) for point in points]
            return {"sum": {"dataPoints": written, **temporality, "isMonotonic": monotonic}}
        case Buckets(buckets):
            return {"histogram": {"dataPoints": [times | _buckets_json(point) for point in buckets], **temporality}}
        case Quantiles(quantiles):
            return {"summary": {"dataPoints": [times | _quantiles_json(point) for point in quantiles]}}


def _number_json(point: NumberPoint) -> dict[str, Any]:
    value = point.value
    written = {"asDouble": value} if isinstance(value, float) else {"asInt": str(int(value))}
    return {"attributes": key_values_json(point.attributes), **written}


def _buckets_json(point: BucketsPoint) -> dict[str, Any]:
    return {
        "attributes": key_values_json(point.attributes),
        "count": str(sum(point.counts)),
        **({} if point.sum is None else {"sum": point.sum}),
        "bucketCounts": [str(count) for count in point.counts],
        "explicitBounds": list(point.bounds),
    }


def _quantiles_json(point: QuantilesPoint) -> dict[str, Any]:
    return {
        "attributes": key_values_json(point.attributes),
        "count": str(point.count),
        "sum": point.sum,
        "quantileValues": [{"quantile": quantile, "value": value} for quantile, value in point.quantiles],
    }
