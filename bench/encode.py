"""CPU per span from records to OTLP bytes, beside opentelemetry-proto on the same spans.

    python bench/encode.py [--batch 512] [--batches 200]

Records of an HTTP server as a mechanism writes them. Mixed: few routes and statuses, 256 connections; every path,
query, id and time its own, so that what one batch left in memory helps the next one only where it would in life. And
one route that all requests go to, which is what bench agent loads.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from gotap.commands.memory import keep_for_batches
from gotap.probe.record import RecordFlags
from gotap.signals.batch import Resource
from gotap.signals.clock import Clock
from gotap.signals.decode import Decoder
from gotap.signals.metrics import Metrics
from gotap.signals.red import RedTable
from gotap.sinks.otlp_encode import SpanEncoder
from gotap.sinks.otlp_json import JsonSpans
from record_samples import SERVER, Sample, encode, request
from span_samples import expected

PORTS = (40000, 40001, 40002, 40003)

DECODE, ENCODE = "records to columns", "columns to OTLP protobuf"
LIBRARY = "opentelemetry-proto: build and serialise"

_T = TypeVar("_T")


def batches(count: int, size: int, mixed: bool) -> Iterator[NDArray[np.uint8]]:
    choose = random.Random(1)

    def values() -> dict[str, int | bytes | tuple[bytes, int]]:
        if not mixed:
            return request(path=b"/hello", query=b"", pattern=b"GET /hello", peer=b"10.0.0.1:%d" % choose.choice(PORTS))
        number = choose.randrange(10**9)
        route = choose.randrange(20)
        return request(
            method=choose.choice([b"GET", b"GET", b"GET", b"POST"]),
            path=b"/shop/%d/items/%d" % (route, number),
            query=b"page=%d&sort=price" % number if choose.random() < 0.3 else b"",
            pattern=b"GET /shop/%d/items/{id}" % route,
            status=choose.choices([200, 404, 500], [95, 4, 1])[0],
            peer=b"10.0.0.%d:%d" % (choose.randrange(64), choose.choice(PORTS)),
            agent=b"Go-http-client/1.1",
        )

    def sample() -> Sample:
        begin = choose.randrange(10**12)
        return Sample(
            values(),
            begin=begin,
            end=begin + choose.randrange(10**8),
            flags=RecordFlags.SAMPLED | RecordFlags.REMOTE_PARENT,
            trace_id=choose.randbytes(16),
            span_id=choose.randbytes(8),
            parent_id=choose.randbytes(8),
        )

    for _ in range(count):
        yield encode([sample() for _ in range(size)])


class Stages:
    """CPU time of each stage by batch, in the order in which stages first ran."""

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = {}

    def run(self, stage: str, work: Callable[[], _T], spans: int) -> _T:
        start = time.process_time()
        result = work()
        self._spent.setdefault(stage, []).append((time.process_time() - start) / spans * 1e6)
        return result

    def each(self, stage: str) -> float:
        """Microseconds a span, of the median batch: other work on the machine distorts the mean."""
        return statistics.median(self._spent[stage])

    def show(self) -> None:
        for stage in self._spent:
            print(f"  {stage:42} {self.each(stage):7.2f} µs a span")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512, help="spans in a batch (default: 512)")
    parser.add_argument("--batches", type=int, default=200, help="batches (default: 200)")
    options = parser.parse_args()
    keep_for_batches()
    for mixed in (True, False):
        print(f"{options.batches} batches of {options.batch} spans, {'mixed' if mixed else 'one route'}, CPU time:")
        measure(list(batches(options.batches, options.batch, mixed)), options.batch)


def measure(gathered: list[NDArray[np.uint8]], size: int) -> None:
    decoder = Decoder(SERVER, Resource({"service.name": "shop"}), type_name=str, clock=Clock())
    encoder, json, metrics, red = SpanEncoder(), JsonSpans(), Metrics(), RedTable()
    stages = Stages()
    for records in gathered:  # as an exporting gotap does it, with nothing between
        spans = stages.run(DECODE, partial(decoder.decode, records), size)
        stages.run(ENCODE, partial(encoder.encode, spans), size)
    for index, records in enumerate(gathered):
        spans = decoder.decode(records)
        stages.run("columns to OTLP/JSON", partial(json.encode, spans), size)
        stages.run("duration histograms", partial(metrics.add, spans), size)
        stages.run("RED table", partial(red.add, spans), size)
        if index % 20 == 0:
            stages.run(LIBRARY, lambda spans=spans: expected(spans, "1").SerializeToString(), size)  # type: ignore[misc]
    stages.show()
    print(f"  {'decode and encode':42} {stages.each(DECODE) + stages.each(ENCODE):7.2f} µs a span (target: at most 3)")
    print(f"  {'opentelemetry-proto / our encoder':42} {stages.each(LIBRARY) / stages.each(ENCODE):7.1f} times the CPU")


if __name__ == "__main__":
    main()
