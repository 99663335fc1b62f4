"""OTLP/JSON against protobuf's own JSON parser."""

from __future__ import annotations

import json
import random

import pytest

from gotap.sinks.otlp_json import JsonSpans, encode_metrics_json
from metric_samples import expected_metrics, histograms
from otlp_json_reader import read_metrics, read_traces
from span_samples import expected, random_spans, sorted_attributes


@pytest.mark.parametrize("seed", range(10))
def test_random_batches(seed: int) -> None:
    choose = random.Random(seed)
    writer = JsonSpans("1.2.3")
    for _ in range(3):
        spans = random_spans(choose.randrange(2**32), choose.choice([1, 2, 100]), choose.choice([1.0, 0.5]))
        line = writer.encode(spans)
        assert b"\n" not in line
        if not spans.sampled.any():
            assert line == b""
            continue
        wanted = expected(spans, "1.2.3")
        for span in wanted.resource_spans[0].scope_spans[0].spans:
            span.status.SetInParent()  # written as {} where it is unset
        assert sorted_attributes(read_traces(line)) == sorted_attributes(wanted)


def test_span_without_attributes() -> None:
    spans = random_spans(1, 2)
    spans.attributes = {}
    read = read_traces(JsonSpans("1").encode(spans))
    assert [len(span.attributes) for span in read.resource_spans[0].scope_spans[0].spans] == [0, 0]


def test_spelling_that_protobuf_would_read_either_way() -> None:
    """64-bit integers are strings, enums numbers, ids hexadecimal, an absent parent "" as in the file exporter."""
    spans = random_spans(4, 30)
    (resource_spans,) = json.loads(JsonSpans("1").encode(spans))["resourceSpans"]
    for row, span in enumerate(resource_spans["scopeSpans"][0]["spans"]):
        assert isinstance(span["startTimeUnixNano"], str)
        assert span["kind"] == 2
        assert span["traceId"] == spans.trace_id[row].tobytes().hex()
        assert span["parentSpanId"] in ("", spans.parent_id[row].tobytes().hex())
        for one in span["attributes"]:
            assert isinstance(one["value"].get("intValue", ""), str)


@pytest.mark.parametrize("seed", range(5))
def test_metrics(seed: int) -> None:
    line = encode_metrics_json(histograms(seed), "1.2.3")
    assert b"\n" not in line
    assert read_metrics(line) == expected_metrics(histograms(seed), "1.2.3")
