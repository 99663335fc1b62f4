"""Records, written byte by byte by tests/record_samples.py, become spans."""

from __future__ import annotations

import random
from typing import Any

import msgspec.structs
import numpy as np
import pytest

from gotap.probe.record import Attribute, ColumnKind, Layout, RecordFlags
from gotap.signals.batch import Coded, Resource, Same, Spans, Texts
from gotap.signals.clock import Clock
from gotap.signals.codes import value_at
from gotap.signals.decode import Decoder
from record_samples import LAYOUT, SERVER, Sample, encode, request

OFFSET = 1_700_000_000_000_000_000
TYPES = {0x4A0: "*errors.errorString", 0x4B0: "string"}


def decoder(output: Any = SERVER, **options: Any) -> Decoder:
    clock = Clock(lambda: 0, lambda: OFFSET)
    return Decoder(output, Resource({"service.name": "shop"}), type_name=TYPES.__getitem__, clock=clock, **options)


def attributes(spans: Spans, row: int) -> dict[str, object]:
    """The attributes that a span has."""
    found = {key: value_at(column, row) for key, column in spans.attributes.items()}
    return {key: value for key, value in found.items() if value is not None}


def decode_one(sample: Sample) -> tuple[Spans, dict[str, object]]:
    spans = decoder().decode(encode([sample]))
    assert len(spans) == 1
    return spans, attributes(spans, 0)


def test_an_ordinary_request() -> None:
    spans, found = decode_one(Sample(request()))
    assert found == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/users/{id}",
        "url.path": "/users/7",
        "url.query": "a=1",
        "url.scheme": "http",
        "server.address": "example.com",
        "server.port": 8080,
        "client.address": "10.0.0.1",
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8.5.0",
    }
    assert spans.name.values[spans.name.codes[0]] == "GET /users/{id}"
    assert spans.start[0] == OFFSET + 1_000_000_000
    assert spans.end[0] == OFFSET + 1_005_000_000
    assert spans.trace_id[0].tobytes() == bytes(range(1, 17))
    assert spans.span_id[0].tobytes() == bytes(range(1, 9))
    assert not spans.error[0]
    assert spans.trace_state.values == [None]


def test_paths_queries_and_agents_of_which_most_differ_are_not_numbered() -> None:
    samples = [Sample(request(path=b"/%d" % one, query=b"%d" % one, agent=b"a%d" % one)) for one in range(100)]
    spans = decoder().decode(encode(samples))
    free = {key for key, column in spans.attributes.items() if isinstance(column, Texts)}
    assert free == {"url.path", "url.query", "user_agent.original"}
    assert {key for key, column in spans.attributes.items() if isinstance(column, Same)} == (
        {attribute.key for attribute in SERVER.attributes} - free
    )


def test_free_texts_of_which_few_differ_are_numbered() -> None:
    agents = ["curl/8.5.0", "é", ""]
    samples = [Sample(request(path=b"/%d" % (one % 5), agent=agents[one % 3].encode())) for one in range(100)]
    spans = decoder().decode(encode(samples))
    assert isinstance(spans.attributes["url.path"], Coded)
    assert isinstance(spans.attributes["user_agent.original"], Coded)
    for row in range(100):
        found = attributes(spans, row)
        assert (found["url.path"], found.get("user_agent.original", "")) == (f"/{row % 5}", agents[row % 3])


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (request(), "GET /users/{id}"),
        (request(pattern=None), "GET"),
        (request(method=b"PURGE"), "HTTP /users/{id}"),
        (request(method=b"PURGE", pattern=None), "HTTP"),
        (request(method=None), "/users/{id}"),
        (request(method=None, pattern=None), ""),
    ],
)
def test_name(values: Any, name: str) -> None:
    spans, _ = decode_one(Sample(values))
    assert spans.name.values[spans.name.codes[0]] == name


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (request(pattern=b"GET /users"), "/users GET"),
        (request(pattern=None, path=b"/users"), "/users GET"),
        (request(pattern=None, path=None), "GET"),
    ],
)
def test_the_first_that_is_present_names_a_span(values: Any, name: str) -> None:
    output = msgspec.structs.replace(SERVER, name="{http.route,url.path} {error.type,http.request.method}")
    spans = decoder(output).decode(encode([Sample(values)]))
    assert spans.name.values[spans.name.codes[0]] == name


class TestErrors:
    def test_status_from_500(self) -> None:
        spans, found = decode_one(Sample(request(status=503)))
        assert found["error.type"] == "503"
        assert spans.error[0]

    def test_abort_is_told_by_type_and_text(self) -> None:
        values = request(status=None, panic_type=0x4A0, panic_text=b"net/http: abort Handler")
        spans, found = decode_one(Sample(values))
        assert found["error.type"] == "abort"
        assert "http.response.status_code" not in found
        assert spans.error[0]

    def test_panic_with_a_string(self) -> None:
        assert decode_one(Sample(request(status=None, panic_type=0x4B0)))[1]["error.type"] == "panic"

    def test_nil_interface_is_no_panic(self) -> None:
        spans, found = decode_one(Sample(request(panic_type=0)))
        assert "error.type" not in found
        assert not spans.error[0]


class TestTexts:
    def test_cut(self) -> None:
        values = request(path=(b"/aaa", 700), query=(b"x=1&sig=abc", 900), pattern=(b"GET /long", 300))
        _, found = decode_one(Sample(values))
        assert found["url.path"] == "/aaa…"
        assert found["url.query"] == "x=1&sig=REDACTED…"
        assert found["http.route"] == "/long…"

    def test_cut_and_whole_of_the_same_bytes_in_one_batch(self) -> None:
        spans = decoder().decode(encode([Sample(request(path=b"/a")), Sample(request(path=(b"/a", 99)))] * 2))
        assert [attributes(spans, row)["url.path"] for row in range(4)] == ["/a", "/a…"] * 2

    def test_cut_inside_a_character(self) -> None:
        assert decode_one(Sample(request(path=("/é".encode()[:2], 3))))[1]["url.path"] == "/…"

    def test_invalid_utf8_is_replaced(self) -> None:
        _, found = decode_one(Sample(request(path=b"/\xff\xfe", host=b"\x80.example", agent=b"a\xc3")))
        assert found["url.path"] == "/\ufffd\ufffd"
        assert found["server.address"] == "\ufffd.example"
        assert found["user_agent.original"] == "a\ufffd"

    def test_empty(self) -> None:
        _, found = decode_one(Sample(request(path=b"", query=b"", host=b"", agent=b"", method=b"", pattern=b"")))
        assert found["http.request.method"] == "GET"
        assert not {"url.path", "url.query", "server.address", "user_agent.original", "http.route"} & set(found)

    def test_dropped_for_lack_of_room(self) -> None:
        sample = Sample(request(query=None), flags=RecordFlags.SAMPLED | RecordFlags.HEAP_FULL)
        assert "url.query" not in decode_one(sample)[1]

    def test_pointing_outside_of_the_record_counts_as_absent(self) -> None:
        rows = encode([Sample(request()), Sample(request())])
        path = LAYOUT.column("path").offset
        rows[0, path : path + 8] = np.frombuffer((500 | 400 << 16 | 400 << 32).to_bytes(8, "little"), np.uint8)
        subject = decoder()
        spans = subject.decode(rows)
        assert "url.path" not in attributes(spans, 0)
        assert attributes(spans, 1)["url.path"] == "/users/7"
        assert subject.broken_texts == 1


def test_absent_columns_and_absent_words() -> None:
    assert decode_one(Sample({}))[1] == {}


def test_column_that_the_layout_does_not_have_is_absent() -> None:
    """Before Go 1.22 there is no pattern to bind."""
    kept = tuple(one for one in LAYOUT.columns if one.name != "pattern")
    older = msgspec.structs.replace(SERVER, layout=Layout("http.server", 3, kept))
    spans = decoder(older).decode(encode([Sample(request(pattern=None))]))
    assert "http.route" not in attributes(spans, 0)
    assert spans.name.values == ["GET"]


class TestRejected:
    @pytest.mark.parametrize(
        "bad",
        [
            Sample(request(), version=2),
            Sample(request(), header={"operation": 4}),
            Sample(request(), header={"used": 600}),
            Sample(request(), header={"used": 8}),
        ],
    )
    def test_counted_and_left_out(self, bad: Sample) -> None:
        subject = decoder()
        spans = subject.decode(encode([Sample(request(path=b"/1")), bad, Sample(request(path=b"/2"))]))
        assert [attributes(spans, row)["url.path"] for row in range(len(spans))] == ["/1", "/2"]
        assert subject.rejected == 1

    def test_all_of_them(self) -> None:
        subject = decoder()
        assert len(subject.decode(encode([Sample(request(), version=9)] * 3))) == 0
        assert subject.rejected == 3


class TestParents:
    def test_flags(self) -> None:
        sampled, remote, local = RecordFlags.SAMPLED, RecordFlags.REMOTE_PARENT, RecordFlags.LOCAL_PARENT
        samples = [Sample(request(), flags=flags) for flags in (sampled, sampled | remote, local, RecordFlags(0))]
        spans = decoder().decode(encode(samples))
        assert spans.flags.tolist() == [0x101, 0x301, 0x100, 0x100]
        assert spans.sampled.tolist() == [True, True, False, False]

    def test_trace_state(self) -> None:
        remote = RecordFlags.SAMPLED | RecordFlags.REMOTE_PARENT
        samples = [
            Sample(request(tracestate=b"a=1,b=2"), flags=remote),
            Sample(request(), flags=remote),
            Sample(request(tracestate=(b"a=1,b=2,c", 40)), flags=remote),
            Sample(request(tracestate=b"\xff"), flags=remote),
            Sample(request(tracestate=b"a=1,b=2"), flags=RecordFlags.SAMPLED),  # its traceparent was none or invalid
        ]
        assert decoder().decode(encode(samples)).trace_state.values == [b"a=1,b=2", None, b"a=1,b=2", None, None]

    @pytest.mark.parametrize(
        ("state", "expected"),
        [(b"a=1", b"a=1"), ((b"a=1,b", 9), b"a=1"), (b"", None), (b"\xff", None), ((b"cut", 9), None)],
    )
    @pytest.mark.parametrize("count", [1, 30])
    def test_one_trace_state_in_all_records(self, state: Any, expected: bytes | None, count: int) -> None:
        remote = RecordFlags.SAMPLED | RecordFlags.REMOTE_PARENT
        samples = [Sample(request(tracestate=state), flags=remote)] * count
        samples.append(Sample(request(tracestate=state), flags=RecordFlags.SAMPLED))
        assert decoder().decode(encode(samples)).trace_state.values == [expected] * count + [None]


def test_end_before_begin_is_no_negative_duration() -> None:
    spans, _ = decode_one(Sample(request(), begin=50, end=40))
    assert spans.start[0] == spans.end[0] == OFFSET + 50


def test_options_reach_the_conversions() -> None:
    subject = decoder(options={"sensitive": ("token",), "known": ("GET", "PURGE")})
    spans = subject.decode(encode([Sample(request(query=b"token=1&sig=2", method=b"PURGE"))]))
    found = attributes(spans, 0)
    assert found["url.query"] == "token=REDACTED&sig=2"
    assert found["http.request.method"] == "PURGE"


def test_an_integer_that_otlp_cannot_carry_is_absent() -> None:
    layout = Layout("x", 3, (msgspec.structs.replace(LAYOUT.columns[0], name="size", kind=ColumnKind.UINT),))
    output = msgspec.structs.replace(
        SERVER, name="x", attributes=(Attribute("size", "int", ("size",)),), metric_attributes=(), layout=layout
    )
    rows = encode([Sample({"size": 2**63}), Sample({"size": 2**63 - 1})], layout=layout)
    spans = decoder(output).decode(rows)
    assert [attributes(spans, row) for row in range(2)] == [{}, {"size": 2**63 - 1}]


def test_nothing_of_the_ring_is_referenced_afterwards() -> None:
    rows = encode([Sample(request())])
    spans = decoder().decode(rows)
    rows[:] = 0
    assert spans.trace_id[0].tobytes() == bytes(range(1, 17))
    assert attributes(spans, 0)["url.path"] == "/users/7"


def test_a_batch_gives_what_its_records_give_one_by_one() -> None:
    choose = random.Random(3)
    samples = []
    for _ in range(300):
        values = request(
            method=choose.choice([b"GET", b"POST", b"BREW", b""]),
            path=b"/%d" % choose.randrange(1000),
            query=choose.choice([b"", b"sig=%d" % choose.randrange(9), (b"q=abc", 20)]),
            status=choose.choice([0, 200, 404, 500, 503]),
            host=choose.choice([b"a.example", b"a.example:81", b"[::1]:9"]),
            major=choose.choice([1, 2]),
            minor=choose.choice([0, 1]),
        )
        for name in choose.sample(sorted(values), k=choose.randrange(4)):
            del values[name]
        samples.append(Sample(values, begin=choose.randrange(10**9), end=2 * 10**9))
    together = decoder().decode(encode(samples))
    for row, sample in enumerate(samples):
        alone, found = decode_one(sample)
        assert attributes(together, row) == found
        assert together.name.values[together.name.codes[row]] == alone.name.values[alone.name.codes[0]]
        assert (together.start[row], together.end[row], together.error[row]) == (
            alone.start[0],
            alone.end[0],
            alone.error[0],
        )


def test_more_distinct_values_than_are_remembered() -> None:
    subject = decoder()
    for first in range(0, 20_000, 2_000):
        rows = encode([Sample(request(path=b"/%d" % (first + index))) for index in range(2_000)])
        spans = subject.decode(rows)
        assert attributes(spans, 1_999)["url.path"] == f"/{first + 1_999}"


class TestBatches:
    """What the columns of a batch have in common must not show."""

    ODD = (
        request(path=b"/\xff\xfe", host=b"\x80.example", agent=b"a\xc3"),
        request(path=(b"/cut", 900), query=(b"sig=abc", 900), agent=("é".encode()[:1], 2)),
        request(path=b"/" + b"x" * 511, agent=b"y" * 256, query=b"q" * 640),
        request(path=b"", agent=b"", query=b"", host=b"", pattern=b""),
        request(path=None, agent=None, query=None, host=None, pattern=None, status=None),
        request(query=b"sig=secret&a=1"),
        request(status=500, major=2, minor=0, tls=1),
    )

    def alike(self, together: Spans, samples: list[Sample]) -> None:
        assert len(together) == len(samples)
        for row, sample in enumerate(samples):
            alone = decoder().decode(encode([sample], 2048))
            assert attributes(together, row) == attributes(alone, 0)
            assert together.name.values[together.name.codes[row]] == alone.name.values[alone.name.codes[0]]
            assert together.error[row] == alone.error[0]

    @pytest.mark.parametrize("odd", ODD)
    @pytest.mark.parametrize("place", [0, 20, 49])
    def test_one_odd_among_many_that_are_the_same(self, odd: Any, place: int) -> None:
        samples = [Sample(request())] * 50
        samples[place] = Sample(odd)
        self.alike(decoder().decode(encode(samples, 2048)), samples)

    @pytest.mark.parametrize("odd", ODD)
    def test_all_the_same(self, odd: Any) -> None:
        self.alike(decoder().decode(encode([Sample(odd)] * 40, 2048)), [Sample(odd)] * 40)

    def test_all_different(self) -> None:
        samples = [
            Sample(
                request(
                    path=b"/%d" % one,
                    query=b"q=%d" % one,
                    agent=b"agent/%d" % one,
                    host=b"h%d.example:%d" % (one, one),
                    peer=b"10.0.%d.%d:1" % divmod(one, 256),
                    pattern=b"GET /%d" % one,
                    status=200 + one,
                    method=b"M%d" % one,
                )
            )
            for one in range(300)
        ]
        self.alike(decoder().decode(encode(samples, 2048)), samples)

    def test_queries_with_one_secret_among_them(self) -> None:
        """A batch whose queries stay as they are, one in which one does not, and the batches after it."""
        subject = decoder()
        plain = [b"q=%d" % one for one in range(40)]
        for secret in ([], [b"a=1&sig=x"], [b"%73ig=x"], [b"a;sig=1"], [b"sig"], [b"=sig=", b"sig=2"], [], [b"sig=9"]):
            samples = [Sample(request(query=query)) for query in [*plain[:9], *secret, *plain[9:], b"", b"a+b=%20"]]
            self.alike(subject.decode(encode(samples, 2048)), samples)

    def test_none(self) -> None:
        spans = decoder().decode(encode([], 512))
        assert len(spans) == 0
        assert spans.trace_state.values == []

    def test_a_text_that_lies_elsewhere_in_each_record(self) -> None:
        samples = [Sample(request(path=b"/" + b"a" * (one % 7))) for one in range(60)]
        self.alike(decoder().decode(encode(samples, 2048)), samples)
