"""Batches of spans, ordinary and random, and what opentelemetry-proto makes of them: the oracle of our encoders."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from gotap.signals.batch import Bools, Coded, Column, Ints, Resource, Same, Spans, Texts
from gotap.signals.codes import value_at
from record_samples import SERVER

RESOURCE = Resource(
    {"service.name": "shop", "process.pid": 4711, "x": True, "y": False, "process.command_args": ("./shop", "-é", "")}
)
KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}


def random_spans(seed: int, count: int, sampled: float = 1.0) -> Spans:
    """A batch with every kind of column, absent values, empty and long texts, and extreme integers."""
    choose = random.Random(seed)
    rng = np.random.default_rng(seed)

    def text(longest: int) -> str:
        return "".join(choose.choice("ab/é😀\x00 ") for _ in range(choose.randrange(longest)))

    def free() -> bytes | None:
        return None if choose.random() < 0.3 else text(choose.choice([2, 50, 300])).encode()

    def coded(distinct: int) -> Coded:
        values = list(dict.fromkeys(f"{index}{text(9)}" for index in range(distinct)))
        return Coded(rng.integers(-1, len(values), count).astype(np.int32), values)

    extremes = [0, 1, -1, 127, 128, 200, 404, 2**31, 2**63 - 1, -(2**63)]
    attributes: dict[str, Column] = {
        "few": coded(4),
        "many": coded(60),
        "status": Ints(np.array([choose.choice(extremes) for _ in range(count)], np.int64), rng.random(count) < 0.8),
        "size": Ints(rng.integers(-(2**62), 2**62, count), rng.random(count) < 0.8),
        "truth": Bools(rng.random(count) < 0.5, rng.random(count) < 0.8),
        "same": Same(choose.choice([None, "é", "", 7, -1, True, False])),
        "path": Texts([free() for _ in range(count)]),
        "query": Texts([free() for _ in range(count)]),
    }
    parents = rng.integers(0, 256, (count, 8), np.uint8) * (rng.random((count, 1)) < 0.5)
    names = [text(9) for _ in range(5)]
    return Spans(
        output=SERVER,
        resource=RESOURCE,
        trace_id=rng.integers(0, 256, (count, 16), np.uint8),
        span_id=rng.integers(0, 256, (count, 8), np.uint8),
        parent_id=parents.astype(np.uint8),
        trace_state=Texts([b"a=1,b=2" if choose.random() < 0.2 else None for _ in range(count)]),
        flags=rng.choice([0x101, 0x301], count).astype(np.uint32),
        sampled=rng.random(count) < sampled,
        start=rng.integers(0, 2**63, count).astype(np.uint64),
        end=rng.integers(0, 2**63, count).astype(np.uint64),
        name=Coded(rng.integers(0, 5, count).astype(np.int32), names),
        error=rng.random(count) < 0.3,
        attributes=attributes,
    )


def any_value(value: object) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, tuple):
        return AnyValue(array_value=ArrayValue(values=[any_value(one) for one in value]))
    return AnyValue(string_value=str(value))


def _spans(spans: Spans) -> Iterator[Span]:
    for row in np.flatnonzero(spans.sampled).tolist():
        found = {key: value_at(column, row) for key, column in spans.attributes.items()}
        parent = spans.parent_id[row].tobytes()
        yield Span(
            trace_id=spans.trace_id[row].tobytes(),
            span_id=spans.span_id[row].tobytes(),
            parent_span_id=parent if any(parent) else b"",
            trace_state=(spans.trace_state.values[row] or b"").decode(),
            flags=int(spans.flags[row]),
            name=spans.name.values[spans.name.codes[row]],
            kind=KINDS[spans.output.kind],
            start_time_unix_nano=int(spans.start[row]),
            end_time_unix_nano=int(spans.end[row]),
            attributes=[KeyValue(key=key, value=any_value(value)) for key, value in found.items() if value is not None],
            status=Status(code=2) if spans.error[row] else None,
        )


def expected(spans: Spans, version: str) -> TracesData:
    """The batch as opentelemetry-proto's objects."""
    attributes = [KeyValue(key=key, value=any_value(value)) for key, value in spans.resource.attributes.items()]
    scope = InstrumentationScope(name=spans.output.scope, version=version)
    scope_spans = ScopeSpans(scope=scope, spans=list(_spans(spans)))
    resource = resource_pb2.Resource(attributes=attributes)
    return TracesData(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope_spans])])


def sorted_attributes(data: TracesData) -> TracesData:
    """The same with every span's attributes sorted by key: their order means nothing."""
    for resource_spans in data.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                ordered = sorted(span.attributes, key=lambda one: one.key)
                del span.attributes[:]
                span.attributes.extend(ordered)
    return data
