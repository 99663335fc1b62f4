from __future__ import annotations

import os
import re
import resource
import threading
import time

import numpy as np
import pytest

from gotap.signals.batch import Coded, Ints, Resource, Spans, Texts
from gotap.signals.codes import value_at
from gotap.sinks.durations import duration_text
from gotap.sinks.lines import Lines, span_lines
from gotap.sinks.stream import OutputFailed
from span_samples import random_spans


def spans(count: int, **changes: object) -> Spans:
    """Spans of one moment: 1.5 ms, GET /users/{id}, status 200."""
    made = random_spans(1, count)
    made.start = np.full(count, 1_700_000_000_123_456_000, np.uint64)
    made.end = made.start + np.uint64(1_500_000)
    made.name = Coded(np.zeros(count, np.int32), ["GET /users/{id}"])
    made.error = np.zeros(count, np.bool_)
    made.attributes = {"http.response.status_code": Ints(np.full(count, 200, np.int64), np.ones(count, np.bool_))}
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def written(*batches: Spans, several: bool = False) -> list[str]:
    reader, writer = os.pipe()
    received = b""
    sink = Lines(writer)
    for made in batches:
        sink.export(made)
    sink.flush(several=several)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        received = pipe.read()
    return received.decode().splitlines()


def test_line_tells_time_kind_name_status_duration_and_ids() -> None:
    made = spans(1)
    (line,) = written(made)
    clock = time.strftime("%H:%M:%S", time.localtime(1_700_000_000)) + ".124956"
    ids = f"{bytes(made.trace_id[0]).hex()}/{bytes(made.span_id[0]).hex()}"
    assert line == f"{clock} server GET /users/{{id}} 200 1.5ms {ids}"


def test_lines_of_several_batches_are_in_the_order_of_the_ends() -> None:
    first, second = spans(3), spans(2)
    first.end += np.array([0, 2_000_000, 4_000_000], np.uint64)
    second.end += np.array([1_000_000, 3_000_000], np.uint64)
    second.name = Coded(np.zeros(2, np.int32), ["PUT"])
    lines = written(first, second)
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert [line.split()[2] for line in lines] == ["GET", "PUT", "GET", "PUT", "GET"]


def test_of_several_processes_each_line_names_its_own() -> None:
    other = spans(1, resource=Resource({"service.name": "cart \x1b", "process.pid": 12}))
    other.end += np.uint64(1)
    lines = written(spans(1), other, several=True)
    assert [line.split(maxsplit=7)[7] for line in lines] == [
        "service.name=shop process.pid=4711",
        'service.name="cart \\x1b" process.pid=12',
    ]
    assert "shop" not in written(spans(1))[0]


def test_the_code_stands_beside_an_error_that_is_called_otherwise() -> None:
    made = spans(3, error=np.array([True, True, True]))
    made.attributes["url.path"] = Texts([b"/a", None, b"/c"])
    made.attributes["error.type"] = Coded(np.array([0, 0, 1], np.int32), ["panic", "200"])
    endings = [line.split(maxsplit=7)[7:] for line in written(made)]
    assert endings == [
        ["url.path=/a http.response.status_code=200"],
        ["http.response.status_code=200"],
        ["url.path=/c"],
    ]


def test_what_a_whole_attribute_says_its_parts_do_not_repeat() -> None:
    made = spans(1)
    made.attributes["url.full"] = Texts([b"http://a/b?c=d"])
    made.attributes["url.path"], made.attributes["url.query"] = Texts([b"/b"]), Texts([b"c=d"])
    assert written(made)[0].endswith(" url.full=http://a/b?c=d")


def test_error_is_told_by_its_type() -> None:
    made = spans(4, error=np.array([True, True, True, False]))
    made.attributes["error.type"] = Coded(np.array([0, 1, -1, -1], np.int32), ["panic", "500"])
    made.attributes["http.response.status_code"] = Ints(
        np.array([200, 500, 503, 0], np.int64), np.array([True, True, True, False])
    )
    assert [line.split()[4] for line in written(made)] == ["!panic", "!500", "!503", "-"]


def test_every_attribute_that_is_there_and_nothing_else() -> None:
    made = random_spans(3, 50)
    for line, row in zip(span_lines(made, range(50)), range(50), strict=True):
        found = {key for key, column in made.attributes.items() if value_at(column, row) is not None}
        assert set(re.findall(r"(?:^| )([a-z]+)=", re.sub(r'"(?:[^"\\]|\\.)*"', "", line.attributes))) == found


def test_only_sampled_spans_are_lines() -> None:
    made = random_spans(4, 100, sampled=0.5)
    assert len(written(made)) == int(made.sampled.sum())
    assert written(spans(3, sampled=np.zeros(3, np.bool_))) == []


def test_hostile_values_stay_on_their_line_and_steer_nothing() -> None:
    hostile = b"/\x1b[2J\n00:00:00 server forged\r\xc2\x9b31m \xff"
    made = spans(1, name=Coded(np.zeros(1, np.int32), ["\x1b]0;owned\x07"]))
    made.attributes["url.path"] = Texts([hostile])
    made.attributes["error.type"] = Coded(np.zeros(1, np.int32), ["a b\x1b"])
    made.error[:] = True
    (line,) = written(made)
    assert line.isprintable()
    assert "\\x1b[2J\\n00:00:00" in line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ns"),
        (850e-9, "850ns"),
        (999.6e-9, "1µs"),
        (1.234e-6, "1.23µs"),
        (12.34e-6, "12.3µs"),
        (123.4e-6, "123µs"),
        (0.0015, "1.5ms"),
        (0.99951, "1s"),
        (12.34, "12.3s"),
        (134.0, "134s"),
        (float("nan"), "-"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_reader_that_goes_away_is_told() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sink = Lines(writer)
    sink.export(spans(1))
    with pytest.raises(OutputFailed, match="closed"):
        sink.flush(several=False)
    assert sink.losses() == {"not written": 1}
    os.close(writer)


def test_full_non_blocking_pipe_loses_nothing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as pipe:
            received.append(pipe.read())

    thread = threading.Thread(target=read)
    sink = Lines(writer)
    thread.start()
    for _ in range(10):
        sink.export(spans(2000))
        sink.flush(several=False)
    os.close(writer)
    thread.join()
    assert received[0].count(b"\n") == 20000


def test_lines_cost_little() -> None:
    """A bound far above what is measured (about 4 µs a span), against work per span that grows with the batch."""
    made = random_spans(5, 512)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(20):
        span_lines(made, range(512))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert (after.ru_utime - before.ru_utime) / (20 * 512) < 100e-6
