"""Signals to OTLP/JSON: each call gives one TracesData or MetricsData object, as OpenTelemetry's file exporter writes.

OTLP's JSON is protobuf's (lowerCamelCase, 64-bit integers as strings, bytes …) with two differences: ids are
hexadecimal, and enums are numbers (opentelemetry-proto, docs/specification.md, JSON Protobuf Encoding).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gotap import __version__
from gotap.signals.batch import Resource, Spans, Texts
from gotap.signals.metrics import Exemplar, Histogram, Point
from gotap.sinks.assemble import Rows, SpanAssembler, chosen, free_texts, sampled
from gotap.sinks.protobuf import AttributeValue

_json = msgspec.json.Encoder().encode


class JsonSpans(SpanAssembler):
    """Writes batches of spans; remembers what it wrote of attributes' values, so keep one for its thread."""

    # Attributes come last, each with a comma behind it, of which the last is taken off.
    statuses = (b'"status":{},"attributes":[', b'"status":{"code":2},"attributes":[')

    def __init__(self, version: str = __version__) -> None:
        """`version` is gotap's, for the instrumentation scope."""
        super().__init__()
        self._version = version

    def encode(self, spans: Spans) -> bytes:
        """A TracesData object of the sampled spans, without a line's end; b"" if none is sampled."""
        rows, count = sampled(spans)
        if count == 0:
            return b""
        parts = [self._fixed(spans, rows)]
        parts.extend(one.each(count) for one in self.pieces(spans, rows, count))
        parts.extend(_texts(key, texts) for key, texts in free_texts(spans, rows))
        bodies = map(b"".join, zip(*parts, strict=True))
        content = b"]},".join(body.rstrip(b",") for body in bodies)
        return (
            b'{"resourceSpans":[{"resource":%b,"scopeSpans":[{"scope":%b,"spans":['
            % (
                _json(resource_json(spans.resource)),
                _json({"name": spans.output.scope, "version": self._version}),
            )
            + content
            + b"]}]}]}]}"
        )

    def _fixed(self, spans: Spans, rows: Rows) -> list[bytes]:
        """Ids, flags and times of each span; the parent's id where there is one."""

        def ids(name: str, size: int) -> list[str]:
            whole = chosen(getattr(spans, name), rows).tobytes().hex()
            return [whole[at : at + 2 * size] for at in range(0, len(whole), 2 * size)]

        columns = (
            ids("trace_id", 16),
            ids("span_id", 8),
            ids("parent_id", 8),
            chosen(spans.flags, rows).tolist(),
            chosen(spans.start, rows).tolist(),
            chosen(spans.end, rows).tolist(),
        )
        return [
            (
                f'{{"traceId":"{trace}","spanId":"{span}","parentSpanId":"{"" if parent == _NO_ID else parent}",'
                f'"flags":{flags},"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}",'
            ).encode()
            for trace, span, parent, flags, start, end in zip(*columns, strict=True)
        ]

    def trace_state(self, value: bytes) -> bytes:
        return b'"traceState":%b,' % _json(value.decode("utf-8", "replace"))

    def named(self, name: str, kind: int) -> bytes:
        return b'"name":%b,"kind":%d,' % (_json(name), kind)

    def attribute(self, key: str, value: str | int | bool) -> bytes:
        return _json(_key_value(key, value)) + b","


def _texts(key: str, texts: Texts) -> list[bytes]:
    """One attribute of every span, with a comma behind it; empty where it is absent."""
    head = b'{"key":%b,"value":{"stringValue":' % _json(key)
    return [b"" if one is None else head + _json(one.decode("utf-8", "replace")) + b"}}," for one in texts.values]


_NO_ID = "0" * 16


def merged(objects: Sequence[bytes]) -> bytes:
    """One object of several that `encode` or `encode_metrics_json` gave: their only field's lists are joined."""
    head, _, _ = objects[0].partition(b"[")
    return head + b"[" + b",".join(one[len(head) + 1 : -2] for one in objects) + b"]}"


def encode_metrics_json(histograms: Iterable[Histogram], version: str = __version__) -> bytes:
    """A MetricsData object, without a line's end."""
    return _json(
        {
            "resourceMetrics": [
                {
                    "resource": resource_json(one.resource),
                    "scopeMetrics": [{"scope": {"name": one.scope, "version": version}, "metrics": [_metric(one)]}],
                }
                for one in histograms
            ]
        }
    )


def _metric(one: Histogram) -> dict[str, Any]:
    return {
        "name": one.name,
        "description": one.description,
        "unit": one.unit,
        "histogram": {
            "dataPoints": [_point(one, point) for point in one.points],
            "aggregationTemporality": int(one.temporality),
        },
    }


def _point(one: Histogram, point: Point) -> dict[str, Any]:
    return {
        "attributes": key_values_json(point.attributes),
        "startTimeUnixNano": str(one.start),
        "timeUnixNano": str(one.time),
        "count": str(point.count),
        "sum": point.sum,
        "bucketCounts": [str(count) for count in point.buckets],
        "explicitBounds": list(one.bounds),
        "exemplars": [_exemplar(exemplar) for exemplar in point.exemplars],
        "min": point.min,
        "max": point.max,
    }


def _exemplar(one: Exemplar) -> dict[str, Any]:
    return {
        "timeUnixNano": str(one.time),
        "asDouble": one.value,
        "spanId": one.span_id.hex(),
        "traceId": one.trace_id.hex(),
    }


def resource_json(resource: Resource) -> dict[str, Any]:
    return {"attributes": key_values_json(resource.attributes)}


def key_values_json(attributes: Mapping[str, AttributeValue]) -> list[dict[str, Any]]:
    return [_key_value(key, value) for key, value in attributes.items()]


def _key_value(key: str, value: AttributeValue) -> dict[str, Any]:
    return {"key": key, "value": _any_value(value)}


def _any_value(value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, tuple):
        return {"arrayValue": {"values": [_any_value(one) for one in value]}}
    return {"stringValue": value}
