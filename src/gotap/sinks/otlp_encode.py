"""Signals to OTLP protobuf, without the library of that name: columns in, bytes out.

Each batch becomes an Export…ServiceRequest with one ResourceSpans or ResourceMetrics a resource. Requests may be
concatenated to one, since that is their only, repeated field.

Field numbers: opentelemetry-proto 1.x trace.proto, metrics.proto, common.proto, resource.proto (stable).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gotap import __version__
from gotap.signals.batch import Resource, Spans
from gotap.signals.codes import number
from gotap.signals.metrics import Exemplar, Histogram, Point
from gotap.sinks.assemble import Pieces, Rows, SpanAssembler, chosen, free_texts, sampled
from gotap.sinks.protobuf import delimited, double, fixed64, key_value, key_values, varint

#: The fields that every span has, with their tags.
_FIXED = np.dtype(
    [
        ("trace_id tag", "S2"),
        ("trace_id", "u1", (16,)),
        ("span_id tag", "S2"),
        ("span_id", "u1", (8,)),
        ("flags tag", "S2"),
        ("flags", "<u4"),
        ("start tag", "S1"),
        ("start", "<u8"),
        ("end tag", "S1"),
        ("end", "<u8"),
    ]
)
#: One span's, of zeros: 1 (16 bytes), 2 (8 bytes), 16 (fixed32), 7 and 8 (fixed64).
_EMPTY = np.array([(b"\x0a\x10", 0, b"\x12\x08", 0, b"\x85\x01", 0, b"\x39", 0, b"\x41", 0)], _FIXED)

_PARENT = np.dtype([("tag", "S2"), ("id", "u1", (8,))])
_NO_PARENT = np.array([(b"\x22\x08", 0)], _PARENT)  # 4, 8 bytes


class _SpanHeads(dict[int, bytes]):
    """What stands before a span of that length in ScopeSpans."""

    def __missing__(self, length: int) -> bytes:
        head = self[length] = b"\x12" + varint(length)
        return head


class _TextHeads(dict[int, bytes]):
    """What stands before a text of that length that is the value of one attribute of a span; nothing for -1."""

    def __init__(self, key: str) -> None:
        super().__init__({-1: b""})
        self._key = delimited(1, key.encode())

    def __missing__(self, length: int) -> bytes:
        text = b"\x0a" + varint(length)
        value = self._key + b"\x12" + varint(len(text) + length) + text
        head = self[length] = b"\x4a" + varint(len(value) + length) + value
        return head


class SpanEncoder(SpanAssembler):
    """Encodes batches of spans; remembers what it wrote of attributes' values, so keep one for its thread."""

    statuses = (b"", b"\x7a\x02\x18\x02")  # 15: Status{3: STATUS_CODE_ERROR}

    def __init__(self, version: str = __version__) -> None:
        """`version` is gotap's, for the instrumentation scope."""
        super().__init__()
        self._version = version
        self._text_heads: dict[str, _TextHeads] = {}
        self._span_heads = _SpanHeads()
        self._resource: tuple[Resource, bytes] | None = None
        self._scopes: dict[str, bytes] = {}

    def encode(self, spans: Spans) -> bytes:
        """An ExportTraceServiceRequest of the sampled spans; b"" if none is sampled."""
        rows, count = sampled(spans)
        if count == 0:
            return b""
        columns = [_fixed(spans, rows, count)]
        lengths = np.full(count, _FIXED.itemsize)
        parents = np.ascontiguousarray(chosen(spans.parent_id, rows))
        if (has_parent := parents.view(np.uint64)[:, 0] != 0).any():
            columns.append(_parents(parents, has_parent))
            lengths += np.where(has_parent, _PARENT.itemsize, 0)
        for one in self.pieces(spans, rows, count):
            columns.append(one.each(count))
            lengths += one.lengths()
        for key, texts in free_texts(spans, rows):
            heads = self._lengths(self._heads_of(key), texts.lengths)
            columns += [heads.each(count), texts.pieces()]
            lengths += heads.lengths() + np.maximum(texts.lengths, 0)
        span_heads = self._lengths(self._span_heads, lengths)
        columns.insert(0, span_heads.each(count))
        # What stands before the spans is made from their length, so that everything is copied once.
        resource, scope = self._resource_field(spans.resource), self._scope_field(spans.output.scope)
        scope_spans = len(scope) + int((lengths + span_heads.lengths()).sum())
        inner = resource + b"\x12" + varint(scope_spans) + scope
        outer = b"\x0a" + varint(len(inner) - len(scope) + scope_spans)
        return b"".join([outer, inner, *_interleaved(columns, count)])

    def _heads_of(self, key: str) -> _TextHeads:
        heads = self._text_heads.get(key)
        if heads is None:
            heads = self._text_heads[key] = _TextHeads(key)
        return heads

    @staticmethod
    def _lengths(heads: dict[int, bytes], lengths: NDArray[np.intp]) -> Pieces:
        """What stands before texts or messages of those lengths."""
        codes, examples = number(lengths)
        return Pieces(codes, [heads[length] for length in lengths[examples].tolist()])

    def _scope_field(self, name: str) -> bytes:
        field = self._scopes.get(name)
        if field is None:
            field = self._scopes[name] = scope_field(name, self._version)
        return field

    def _resource_field(self, resource: Resource) -> bytes:
        if self._resource is None or self._resource[0] is not resource:
            self._resource = resource, resource_field(resource)
        return self._resource[1]

    def trace_state(self, value: bytes) -> bytes:
        return delimited(3, value)

    def named(self, name: str, kind: int) -> bytes:
        return delimited(5, name.encode("utf-8", "replace")) + b"\x30" + varint(kind)

    def attribute(self, key: str, value: str | int | bool) -> bytes:
        return key_value(9, key, value)


def _fixed(spans: Spans, rows: Rows, count: int) -> list[bytes]:
    """Ids, flags and times of each span."""
    laid = np.repeat(_EMPTY, count)
    for name in ("trace_id", "span_id", "flags", "start", "end"):
        laid[name] = chosen(getattr(spans, name), rows)
    return _rows(laid)


def _parents(ids: NDArray[np.uint8], has_parent: NDArray[np.bool_]) -> list[bytes]:
    """The parent's id of each span, nothing of a root."""
    laid = np.repeat(_NO_PARENT, len(ids))
    laid["id"] = ids
    fields = _rows(laid)
    for row in np.flatnonzero(~has_parent).tolist():
        fields[row] = b""
    return fields


def _rows(laid: NDArray[np.void]) -> list[bytes]:
    """Each element's bytes: as of a type without fields numpy gives them away several times faster than by slicing."""
    found: list[bytes] = laid.view(f"V{laid.itemsize}").tolist()
    return found


def _interleaved(columns: list[list[bytes]], count: int) -> list[bytes]:
    """First the first piece of each column, then the second …"""
    pieces = [b""] * (count * len(columns))
    for place, column in enumerate(columns):
        pieces[place :: len(columns)] = column
    return pieces


def encode_metrics(histograms: Iterable[Histogram], version: str = __version__) -> bytes:
    """An ExportMetricsServiceRequest."""
    return b"".join(
        delimited(
            1,
            resource_field(one.resource)
            + delimited(2, scope_field(one.scope, version) + delimited(2, _histogram(one))),
        )
        for one in histograms
    )


def resource_field(resource: Resource) -> bytes:
    return delimited(1, key_values(1, resource.attributes.items()))


def scope_field(name: str, version: str) -> bytes:
    return delimited(1, delimited(1, name.encode()) + delimited(2, version.encode()))


def _histogram(one: Histogram) -> bytes:
    """metrics.proto, Metric with a Histogram."""
    bounds = delimited(7, struct.pack(f"<{len(one.bounds)}d", *one.bounds))
    times = fixed64(2, one.start) + fixed64(3, one.time)
    points = b"".join(delimited(1, times + _point(point) + bounds) for point in one.points)
    histogram = points + b"\x10" + varint(one.temporality)
    texts = ((1, one.name), (2, one.description), (3, one.unit))
    return b"".join(delimited(number, text.encode()) for number, text in texts) + delimited(9, histogram)


def _point(point: Point) -> bytes:
    """metrics.proto, HistogramDataPoint, without its times and bounds."""
    return (
        key_values(9, point.attributes.items())
        + fixed64(4, point.count)
        + double(5, point.sum)
        + delimited(6, struct.pack(f"<{len(point.buckets)}Q", *point.buckets))
        + b"".join(delimited(8, _exemplar(one)) for one in point.exemplars)
        + double(11, point.min)
        + double(12, point.max)
    )


def _exemplar(one: Exemplar) -> bytes:
    return fixed64(2, one.time) + double(3, one.value) + delimited(4, one.span_id) + delimited(5, one.trace_id)
