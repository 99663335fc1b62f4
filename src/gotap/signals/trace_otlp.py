"""Events and maps of a script as OpenTelemetry's signals: calls are spans, aggregations are metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from gotap.probe.record import Layout, Output
from gotap.probe.script.bound import MapKind, PartKind
from gotap.probe.script.routine import Ended
from gotap.signals.batch import Bools, Coded, Column, Ints, Resource, Same, Spans, Texts
from gotap.signals.call_trees import CallNode, preorder
from gotap.signals.events import Events, Field, ended_word
from gotap.signals.maps import MapResult, to_json
from gotap.signals.maps import Quantiles as QuantilesOf
from gotap.signals.points import Buckets, BucketsPoint, Gauge, Metric, NumberPoint, Quantiles, QuantilesPoint, Sum
from gotap.signals.trace_values import as_json

#: Instrumentation scope of both.
SCOPE = "gotap.trace"

_json = msgspec.json.Encoder().encode
_LARGEST = 1 << 63

_OUTPUT = Output(
    operation=SCOPE,
    kind="internal",
    name="{code.function.name}",
    attributes=(),
    metric=None,
    metric_attributes=(),
    layout=Layout(SCOPE, 0, ()),
    scope=SCOPE,
)


class Ids(Struct):
    """Of spans, one after the other: 16, 8 and 8 bytes each; a root's parent is zeros."""

    trace: bytes
    span: bytes
    parent: bytes

    @classmethod
    def of_roots(cls, count: int) -> Ids:
        """New ones, each of a trace of its own."""
        return cls(os.urandom(16 * count), os.urandom(8 * count), bytes(8 * count))


def tree_spans(tree: CallNode, resource: Resource) -> Iterator[Spans]:
    """A call and those it made, as spans of one trace."""
    trace = os.urandom(16)
    parents = [bytes(8)]  # by depth
    batches: dict[int, tuple[Events, list[int], Ids]] = {}
    for node, depth, closes in preorder(tree):
        if closes:
            continue
        span = os.urandom(8)
        _, rows, ids = batches.setdefault(id(node.events), (node.events, [], Ids(b"", b"", b"")))
        rows.append(node.row)
        ids.trace, ids.span, ids.parent = ids.trace + trace, ids.span + span, ids.parent + parents[depth]
        parents[depth + 1 :] = [span]
    for events, rows, ids in batches.values():
        yield spans_of(events, rows, resource, ids)


def spans_of(events: Events, rows: Sequence[int], resource: Resource, ids: Ids | None = None) -> Spans:
    """The calls at those rows as spans, by default each of a trace of its own; a call that did not return is an error.

    Attributes: code.* and thread.id by the semantic conventions, else gotap.*; a value that is neither a number nor a
    bool nor a string is its JSON text.
    """
    chosen = list(rows)
    count = len(chosen)
    ids = Ids.of_roots(count) if ids is None else ids
    end = np.array([events.time[row] for row in chosen], np.uint64)
    latency = np.array([events.latency[row] if events.latency else 0 for row in chosen], np.uint64)
    sites = [events.site[row] for row in chosen]
    functions = [events.function[row] or events.spec.probe for row in chosen]
    failed = [events.ended[row] in (Ended.PANIC, Ended.GOEXIT) for row in chosen]
    endings = [ended_word(events.ended[row]) for row in chosen]
    name = _coded(functions)
    attributes: dict[str, Column] = {
        "code.function.name": name,
        "code.file.path": _coded([site.file if site else None for site in sites]),
        "code.line.number": _ints([site.line if site else None for site in sites]),
        "thread.id": _ints([events.tid[row] for row in chosen]),
        "gotap.goroutine.id": _ints([events.goid[row] or None for row in chosen]),
        "gotap.probe": Same(events.spec.probe),
        "gotap.ended": _coded(endings),
        "error.type": _coded([ending if bad else None for ending, bad in zip(endings, failed, strict=True)]),
    }
    if any(events.weight[row] > 1 for row in chosen):
        attributes["gotap.sampled.one_of"] = _ints([events.weight[row] for row in chosen])
    attributes |= {f"gotap.arg.{field.name}": _column(field, chosen) for field in events.fields}
    attributes |= {f"gotap.result.{field.name}": _column(field, chosen) for field in events.results}
    return Spans(
        output=_OUTPUT,
        resource=resource,
        trace_id=np.frombuffer(ids.trace, np.uint8).reshape(count, 16),
        span_id=np.frombuffer(ids.span, np.uint8).reshape(count, 8),
        parent_id=np.frombuffer(ids.parent, np.uint8).reshape(count, 8),
        trace_state=Texts.none(count),
        flags=np.full(count, 0x101, np.uint32),
        sampled=np.ones(count, np.bool_),
        start=end - latency,
        end=end,
        name=name,
        error=np.array(failed, np.bool_),
        attributes=attributes,
    )


def _coded(values: Sequence[str | None]) -> Coded:
    known: dict[str, int] = {}
    codes = [-1 if value is None else known.setdefault(value, len(known)) for value in values]
    return Coded(np.array(codes, np.int32), list(known))


def _ints(values: Sequence[int | None]) -> Ints:
    present = np.array([value is not None for value in values], np.bool_)
    return Ints(np.array([value or 0 for value in values], np.int64), present)


def _column(field: Field, rows: Sequence[int]) -> Column:
    """One argument of all calls: whole numbers as such where all of them are, and so on, else texts."""
    values = [as_json(field.part, field.values[row]) for row in rows]
    if field.part.kind is PartKind.BOOL and all(isinstance(value, bool) for value in values):
        return Bools(np.array(values, np.bool_), np.ones(len(values), np.bool_))
    if all(type(value) is int and -_LARGEST <= value < _LARGEST for value in values):
        return _ints(values)
    return Texts([_text(value) for value in values])


def _text(value: Any) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else _json(value)


# Metrics


def metric_of(result: MapResult, resource: Resource, start: int, now: int) -> Metric | None:
    """A map as a metric; None: there is none of its kind. Times in Unix ns.

    hist and lhist: OTLP's upper bounds belong to the bucket below them while ours do not, so of whole numbers the
    bound is the greatest one that the bucket takes. A key's parts are the attributes k0, k1 and so on.
    """
    spec, entries = result.spec, to_json(result)["entries"]
    if spec.kind is MapKind.QUANTILE:
        pairs = zip(entries, result.entries, strict=True)
        data: _Data | None = Quantiles(tuple(_quantiles(entry, one.value) for entry, one in pairs))
    else:
        data = _data(spec.kind.value, entries)
    if data is None:
        return None
    label, what = spec.name.removeprefix("@") or "map", f"{spec.name}: {spec.kind.value} of a gotap script"
    if result.sampled_of > 1:
        what += f", an estimate from one firing of {result.sampled_of}"
    unit = "ns" if spec.value.kind is PartKind.DURATION and spec.kind is not MapKind.COUNT else ""
    return Metric(resource, SCOPE, f"{SCOPE}.{label}", unit, what, start, now, data)


_Data = Sum | Gauge | Buckets | Quantiles


def _data(kind: str, entries: Sequence[dict[str, Any]]) -> _Data | None:
    match kind:
        case "count":
            return Sum(tuple(NumberPoint(_attributes(one), one["value"]) for one in entries), monotonic=True)
        case "sum":
            return Sum(tuple(NumberPoint(_attributes(one), one["value"]) for one in entries), monotonic=False)
        case "avg" | "min" | "max":
            return Gauge(tuple(NumberPoint(_attributes(one), one["value"]) for one in entries))
        case "value":
            numbers = [one for one in entries if isinstance(one["value"], int | float)]
            return Gauge(tuple(NumberPoint(_attributes(one), one["value"]) for one in numbers))
        case "stats":
            return Quantiles(tuple(_stats(one) for one in entries))
        case "hist" | "lhist":
            return Buckets(tuple(_buckets(one) for one in entries))
        case "top":
            points = (
                NumberPoint({**_attributes(one), "value": _attribute(each["value"])}, each["count"])
                for one in entries
                for each in one["value"]
            )
            return Sum(tuple(points), monotonic=True)
        case _:
            return None


def _attributes(entry: dict[str, Any]) -> dict[str, str | int | bool]:
    return {f"k{number}": _attribute(part) for number, part in enumerate(entry["key"])}


def _attribute(value: Any) -> str | int | bool:
    return value if isinstance(value, str | int | bool) else _json(value).decode()


def _stats(entry: dict[str, Any]) -> QuantilesPoint:
    value = entry["value"]
    ends = ((0.0, float(value["min"])), (1.0, float(value["max"])))
    return QuantilesPoint(_attributes(entry), value["count"], float(value["total"]), ends)


def _quantiles(entry: dict[str, Any], value: Any) -> QuantilesPoint:
    assert isinstance(value, QuantilesOf)
    quantiles = ((0.5, value.p50), (0.9, value.p90), (0.99, value.p99), (1.0, value.max))
    return QuantilesPoint(
        _attributes(entry), value.count, float(value.total), tuple((share, float(one)) for share, one in quantiles)
    )


def _buckets(entry: dict[str, Any]) -> BucketsPoint:
    """Buckets that do not touch have an empty one between them."""
    bounds: list[float] = []
    counts: list[int] = [0]
    for bucket in entry["value"]["buckets"]:
        below, above, count = bucket["from"], bucket["to"], bucket["count"]
        if below is not None and (not bounds or bounds[-1] != below - 1):
            bounds.append(below - 1)
            counts.append(0)
        counts[-1] += count
        if above is not None:
            bounds.append(above - 1)
            counts.append(0)
    return BucketsPoint(_attributes(entry), tuple(map(float, bounds)), tuple(counts))
