"""Our span encoder against opentelemetry-proto: the bytes parse to the message that it builds from the same columns."""

from __future__ import annotations

import random

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from gotap.signals.batch import Same, Texts
from gotap.signals.clock import Clock
from gotap.signals.decode import Decoder
from gotap.sinks.otlp_encode import SpanEncoder, encode_metrics
from gotap.sinks.protobuf import fields, key_value
from metric_samples import expected_metrics, histograms
from record_samples import SERVER, Sample, encode, request
from span_samples import RESOURCE, any_value, expected, random_spans, sorted_attributes


@pytest.mark.parametrize("seed", range(25))
def test_random_batches(seed: int) -> None:
    choose = random.Random(seed)
    encoder = SpanEncoder("1.2.3")
    for _ in range(3):  # what the encoder remembers must not leak from batch to batch
        count, sampled = choose.choice([1, 2, 17, 300]), choose.choice([1.0, 0.5])
        spans = random_spans(choose.randrange(2**32), count, sampled)
        parsed = TracesData.FromString(encoder.encode(spans))
        if not spans.sampled.any():
            assert not parsed.resource_spans
        else:
            assert sorted_attributes(parsed) == sorted_attributes(expected(spans, "1.2.3"))


def test_decoded_records() -> None:
    decoder = Decoder(SERVER, RESOURCE, type_name=str, clock=Clock())
    samples = [
        Sample(request(), parent_id=b"12345678"),
        Sample(request(status=500, path=b"/\xff", method=b"BREW", tracestate=b"a=1")),
        Sample({}),
    ]
    spans = decoder.decode(encode(samples))
    assert sorted_attributes(TracesData.FromString(SpanEncoder("1").encode(spans))) == sorted_attributes(
        expected(spans, "1")
    )


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("parents", ["none", "all", "some"])
def test_what_all_spans_have_in_common(count: int, parents: str) -> None:
    spans = random_spans(7, count)
    spans.attributes = {
        "text": Same("é" * 200),
        "none": Same(None),
        "one": Same(1),
        "yes": Same(True),
        "no": Same(False),
        "path": Texts([b"/"] * count),
        "nothing": Texts.none(count),
    }
    spans.trace_state = Texts.none(count)
    spans.parent_id[:] = 0
    if parents != "none":
        spans.parent_id[:: 2 if parents == "some" else 1, 7] = 1
    parsed = TracesData.FromString(SpanEncoder("1").encode(spans))
    assert sorted_attributes(parsed) == sorted_attributes(expected(spans, "1"))


def test_spans_of_any_length() -> None:
    """Each of one, two and three bytes of length, in one batch."""
    spans = random_spans(3, 4)
    spans.attributes = {"path": Texts([None, b"x" * 100, b"y" * 20_000, b"z" * 3_000_000])}
    spans.sampled[:] = True
    assert TracesData.FromString(SpanEncoder("1").encode(spans)) == expected(spans, "1")


def test_nothing_sampled_is_nothing() -> None:
    assert SpanEncoder("1").encode(random_spans(1, 20, sampled=0.0)) == b""


def test_requests_concatenate() -> None:
    encoder = SpanEncoder("1")
    one, two = random_spans(1, 20), random_spans(2, 20)
    request_bytes = encoder.encode(one) + encoder.encode(two)
    parsed = ExportTraceServiceRequest.FromString(request_bytes)
    assert [len(each.scope_spans[0].spans) for each in parsed.resource_spans] == [20, 20]


def test_resources_of_several_processes_are_kept_apart() -> None:
    encoder = SpanEncoder("1")
    spans = random_spans(1, 3)
    encoder.encode(spans)
    spans.resource = type(RESOURCE)({"service.name": "other"})
    parsed = TracesData.FromString(encoder.encode(spans))
    assert parsed.resource_spans[0].resource.attributes[0].value.string_value == "other"


EXTREMES = [0, 1, -1, 127, 128, 2**63 - 1, -(2**63), "", "é😀", "x" * 20_000, True, False, ("a", "é"), ()]


@pytest.mark.parametrize("value", EXTREMES, ids=lambda value: repr(value)[:20])
def test_key_value(value: str | int | bool | tuple[str, ...]) -> None:
    parsed = resource_pb2.Resource.FromString(key_value(1, "k", value))
    assert list(parsed.attributes) == [KeyValue(key="k", value=any_value(value))]


def test_text_lengths_around_the_varint_boundaries() -> None:
    for length in (0, 1, 100, 126, 127, 128, 129, 16_383, 16_384):
        spans = random_spans(5, 2)
        spans.attributes = {"path": type(spans.trace_state)([b"x" * length, None])}
        spans.sampled = np.ones(2, np.bool_)
        assert TracesData.FromString(SpanEncoder("1").encode(spans)) == expected(spans, "1")


@pytest.mark.parametrize("seed", range(10))
def test_metrics(seed: int) -> None:
    parsed = MetricsData.FromString(encode_metrics(histograms(seed), "1.2.3"))
    assert parsed == expected_metrics(histograms(seed), "1.2.3")


class TestFields:
    def test_reads_what_the_library_writes(self) -> None:
        partial = ExportTracePartialSuccess(rejected_spans=300, error_message="too é")
        message = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
        ((number, content),) = fields(message)
        assert number == 1
        assert isinstance(content, bytes)
        assert list(fields(content)) == [(1, 300), (2, "too é".encode())]

    def test_reads_every_wire_type(self) -> None:
        span = (
            TracesData.FromString(SpanEncoder("1").encode(random_spans(1, 1))).resource_spans[0].scope_spans[0].spans[0]
        )
        assert {number for number, _ in fields(span.SerializeToString())} >= {1, 2, 5, 6, 7, 8, 9, 16}

    @pytest.mark.parametrize("nonsense", [b"\x0a", b"\x0a\x05abc", b"<html>", b"\xff" * 20, b"\x00\x00", b"\x0b"])
    def test_nonsense(self, nonsense: bytes) -> None:
        with pytest.raises(ValueError, match=r"truncated|wire type|field number"):
            list(fields(nonsense))
