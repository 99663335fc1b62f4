"""Spans to OTLP protobuf: columns in, bytes out, and no object a span but its bytes.

What few values are combined to (name, method, route, status …) is encoded once a combination and batch; what every
span has of its own (ids, times, free texts) is laid into place by columns. A batch becomes an ExportTraceServiceRequest
with one ResourceSpans; requests of several batches may be concatenated to one, since it is its only, repeated field.

Field numbers: opentelemetry-proto 1.x trace.proto, common.proto, resource.proto (stable).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gotap.signals.batch import Bools, Coded, Ints, Resource, Spans, Texts
from gotap.signals.codes import Codes, combine, number

#: trace.proto, enum SpanKind.
SPAN_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}

AttributeValue = str | int | bool | tuple[str, ...]
_Scalar = TypeVar("_Scalar", bound=np.generic)

#: Encoded attributes remembered; beyond, they are all forgotten.
_MEMORY = 8192

#: A column with more distinct values than this stays out of the combinations: it would multiply them.
_FEW = 32

#: The fields that every span has, at fixed places; the parent comes last, so that a root ends before it.
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
        ("parent_id tag", "S2"),
        ("parent_id", "u1", (8,)),
    ]
)
_FIXED_TAGS = {
    "trace_id tag": b"\x0a\x10",  # 1, 16 bytes
    "span_id tag": b"\x12\x08",  # 2, 8 bytes
    "flags tag": b"\x85\x01",  # 16, fixed32
    "start tag": b"\x39",  # 7, fixed64
    "end tag": b"\x41",  # 8, fixed64
    "parent_id tag": b"\x22\x08",  # 4, 8 bytes
}
_ROOT_SIZE = _FIXED.itemsize - 10

_STATUS_ERROR = b"\x7a\x02\x18\x02"  # 15: Status{3: STATUS_CODE_ERROR}


def varint(value: int) -> bytes:
    """A base-128 varint; negative values as int64, ten bytes."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def delimited(number: int, content: bytes) -> bytes:
    """A length-delimited field, number below 16."""
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def any_value(value: AttributeValue) -> bytes:
    """common.proto, AnyValue."""
    if isinstance(value, str):
        return delimited(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + varint(value)
    return delimited(5, b"".join(delimited(1, any_value(one)) for one in value))


def key_value(number: int, key: str, value: AttributeValue) -> bytes:
    """An attribute (common.proto, KeyValue) as the field of that number."""
    return delimited(number, delimited(1, key.encode()) + delimited(2, any_value(value)))


class _Lengths(dict[int, bytes]):
    """What stands before a span of that length in ScopeSpans."""

    def __missing__(self, length: int) -> bytes:
        head = self[length] = b"\x12" + varint(length)
        return head


class _TextHeads(dict[int, bytes]):
    """What stands before a text of that length that is the value of one attribute of a span."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = delimited(1, key.encode())

    def __missing__(self, length: int) -> bytes:
        text = b"\x0a" + varint(length)
        value = self._key + b"\x12" + varint(len(text) + length) + text
        head = self[length] = b"\x4a" + varint(len(value) + length) + value
        return head


class SpanEncoder:
    """Encodes batches of spans; remembers what it encoded of attributes' values, so keep one for its thread."""

    def __init__(self, version: str) -> None:
        """`version` is gotap's, which goes into the instrumentation scope."""
        self._version = delimited(2, version.encode())
        self._attributes: dict[tuple[str, str | int], bytes] = {}
        self._text_heads: dict[str, _TextHeads] = {}
        self._span_heads = _Lengths()
        self._resource: tuple[Resource, bytes] | None = None

    def encode(self, spans: Spans) -> bytes:
        """An ExportTraceServiceRequest of the sampled spans; b"" if none is sampled."""
        rows = None if spans.sampled.all() else np.flatnonzero(spans.sampled)
        count = len(spans) if rows is None else len(rows)
        if count == 0:
            return b""
        parts: list[list[bytes]] = [_fixed_fields(spans, rows)]
        parts.extend(self._combined(spans, rows, count))
        for key, column in spans.attributes.items():
            if isinstance(column, Texts):
                parts.append(self._texts(key, column, rows))
        if any(spans.trace_state.values):
            parts.append([b"" if one is None else delimited(3, one) for one in _taken(spans.trace_state.values, rows)])
        bodies = list(map(b"".join, zip(*parts, strict=True)))
        heads = map(self._span_heads.__getitem__, map(len, bodies))
        scope = delimited(1, delimited(1, spans.output.scope.encode()) + self._version)
        scope_spans = delimited(2, scope + b"".join(chain.from_iterable(zip(heads, bodies, strict=True))))
        return delimited(1, self._resource_field(spans.resource) + scope_spans)

    def _resource_field(self, resource: Resource) -> bytes:
        if self._resource is None or self._resource[0] is not resource:
            attributes = (key_value(1, key, value) for key, value in resource.attributes.items())
            self._resource = resource, delimited(1, b"".join(attributes))
        return self._resource[1]

    def _combined(self, spans: Spans, rows: NDArray[np.intp] | None, count: int) -> Iterable[list[bytes]]:
        """The fields with few values, encoded by combination; then, each by itself, columns with many values."""
        kind = b"\x30" + varint(SPAN_KINDS[spans.output.kind])
        names = [delimited(5, name.encode()) + kind for name in spans.name.values]
        few: list[tuple[Codes, list[bytes]]] = [
            (_rows(spans.name.codes, rows).astype(np.intp), names),
            (_rows(spans.error, rows).astype(np.intp), [b"", _STATUS_ERROR]),
        ]
        many: list[list[bytes]] = []
        for key, column in spans.attributes.items():
            if isinstance(column, Texts):
                continue
            codes, fragments = self._fragments(key, column, rows)
            if len(fragments) <= _FEW:
                few.append((codes, fragments))
            else:
                many.append([fragments[code] for code in codes.tolist()])
        combination, examples = combine([(codes, len(fragments)) for codes, fragments in few], count)
        pieces = [[fragments[code] for code in codes[examples].tolist()] for codes, fragments in few]
        joined = list(map(b"".join, zip(*pieces, strict=True)))
        yield [joined[code] for code in combination.tolist()]
        yield from many

    def _fragments(
        self, key: str, column: Ints | Bools | Coded, rows: NDArray[np.intp] | None
    ) -> tuple[Codes, list[bytes]]:
        """(codes, fragments) of an attribute: row i's field is `fragments[codes[i]]`, empty where it is absent."""
        if isinstance(column, Coded):
            codes = _rows(column.codes, rows).astype(np.intp) + 1
            return codes, [b"", *(self._attribute(key, value) for value in column.values)]
        present = _rows(column.present, rows)
        if isinstance(column, Bools):
            truth = _rows(column.values, rows).astype(np.intp) + 1
            return np.where(present, truth, 0), [b"", key_value(9, key, False), key_value(9, key, True)]
        values = _rows(column.values, rows)
        codes, examples = number(values)
        fragments = [b"", *(self._attribute(key, value) for value in values[examples].tolist())]
        return np.where(present, codes + 1, 0), fragments

    def _attribute(self, key: str, value: str | int) -> bytes:
        known = self._attributes.get((key, value))
        if known is None:
            if len(self._attributes) >= _MEMORY:
                self._attributes.clear()
            known = self._attributes[key, value] = key_value(9, key, value)
        return known

    def _texts(self, key: str, column: Texts, rows: NDArray[np.intp] | None) -> list[bytes]:
        heads = self._text_heads.get(key)
        if heads is None:
            heads = self._text_heads[key] = _TextHeads(key)
        return [b"" if text is None else heads[len(text)] + text for text in _taken(column.values, rows)]


def _rows(column: NDArray[_Scalar], rows: NDArray[np.intp] | None) -> NDArray[_Scalar]:
    return column if rows is None else column[rows]


def _taken(values: list[bytes | None], rows: NDArray[np.intp] | None) -> list[bytes | None]:
    return values if rows is None else [values[row] for row in rows.tolist()]


def _fixed_fields(spans: Spans, rows: NDArray[np.intp] | None) -> list[bytes]:
    """Ids, flags and times of each span; the parent's id where there is one."""
    parents = _rows(spans.parent_id, rows)
    fields = np.empty(len(parents), _FIXED)
    for name, tag in _FIXED_TAGS.items():
        fields[name] = tag
    for name in ("trace_id", "span_id", "parent_id", "flags", "start", "end"):
        fields[name] = _rows(getattr(spans, name), rows)
    starts = np.arange(len(fields)) * _FIXED.itemsize
    ends = starts + np.where(parents.any(axis=1), _FIXED.itemsize, _ROOT_SIZE)
    whole = fields.tobytes()
    return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
