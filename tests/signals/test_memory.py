"""What is remembered of values stays within its bounds, whatever the network sends."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gotap.signals import memory
from gotap.signals.batch import Coded, Resource
from gotap.signals.clock import Clock
from gotap.signals.decode import Decoder
from gotap.signals.memory import Memory
from gotap.sinks.otlp_encode import SpanEncoder
from record_samples import SERVER, Sample, encode, request
from span_samples import random_spans


def test_what_was_kept_is_found_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 3)
    subject: Memory[int, int] = Memory()
    for number in range(4):
        assert subject.keep(number, number * number) == number * number
    assert subject == {3: 9}


def test_texts_in_keys_and_results_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_BYTES", 100)
    subject: Memory[object, object] = Memory()
    subject.keep((b"a" * 20, (b"b" * 10,), None, 7), "c" * 30)
    subject.keep(b"d" * 20, b"e" * 20)
    assert len(subject) == 2
    subject.keep("f", None)
    assert list(subject) == ["f"]
    subject.keep("g" * 98, True)
    assert len(subject) == 2, "counting began anew"


def test_decoders_and_encoders_do_not_keep_every_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_BYTES", 50_000)
    decoder = Decoder(SERVER, Resource({}), type_name=str, clock=Clock())
    encoder = SpanEncoder()
    rows = [
        encode([Sample(request(query=b"sig=a&b=%0400d" % (100 * n + i))) for i in range(100)], 1024) for n in range(6)
    ]
    batches = [random_spans(n, 100) for n in range(6)]
    for number, batch in enumerate(batches):
        urls = [f"https://example.com/{number}/{one:0400}" for one in range(100)]
        batch.attributes["url.full"] = Coded(np.arange(100, dtype=np.int32), urls)
    tracemalloc.start()
    try:
        for some, batch in zip(rows, batches, strict=True):
            decoder.decode(some)
            encoder.encode(batch)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000, "600 queries and 600 URLs, each twice, are a megabyte"
