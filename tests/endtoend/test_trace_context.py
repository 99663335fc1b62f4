"""Incoming trace context: read from header maps of every size, judged as W3C Trace Context does."""

from __future__ import annotations

import pytest

from endtoend_requests import get
from goservers import Client, Server
from gotap.bpf.codegen.tracing import Sampling
from httpload import load
from watching import Watch, watching

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"
REMOTE = 0x300  # Span.flags: it is known whether the parent is remote, and it is


def test_the_parent_of_a_valid_header(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/hello", headers={"Traceparent": VALID})
    assert (span.trace_id, span.parent_id) == (TRACE, PARENT)
    assert span.flags == REMOTE | 1
    assert span.span_id != PARENT


def test_without_a_header_a_trace_begins(server: Server, watch: Watch) -> None:
    spans = [get(server, watch, "/hello") for _ in range(8)]
    assert all(span.parent_id == "" and span.flags == 0x101 for span in spans)
    assert len({span.trace_id for span in spans}) == len({span.span_id for span in spans}) == 8
    assert all(int(span.trace_id, 16) and int(span.span_id, 16) for span in spans)


@pytest.mark.parametrize("others", [0, 3, 5, 6, 7, 8, 9, 40, 200])
def test_any_number_of_other_headers(server: Server, watch: Watch, others: int) -> None:
    headers = {f"X-Header-{number}": "value" for number in range(others)}
    span = get(server, watch, "/hello", headers=headers | {"traceparent": VALID, "tracestate": "a=1"})
    assert (span.trace_id, span.parent_id, span.trace_state) == (TRACE, PARENT, "a=1")


def test_it_is_found_wherever_it_stands_in_large_maps(server: Server, watch: Watch) -> None:
    """Hash seeds differ from map to map, so that repeating finds it in every group and table."""
    headers = {f"X-Other-{number}": "v" for number in range(100)}
    load(server.http, "/hello", 100, connections=2, headers=headers | {"traceparent": VALID})
    assert [span.parent_id for span in watch.take("server")] == [PARENT] * 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "garbage",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-0",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"0x-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-zz",
        f"01-{TRACE}-{PARENT}-01more",
    ],
)
def test_an_invalid_header_is_as_if_it_were_not_there(server: Server, watch: Watch, text: str) -> None:
    span = get(server, watch, "/hello", headers={"traceparent": text})
    assert span.parent_id == ""
    assert span.trace_id != TRACE
    assert span.flags & 0x300 == 0x100
    assert int(span.trace_id, 16)


@pytest.mark.parametrize("text", [f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-comes-later"])
def test_later_versions_are_read_as_far_as_known(server: Server, watch: Watch, text: str) -> None:
    assert get(server, watch, "/hello", headers={"traceparent": text}).parent_id == PARENT


def test_an_unsampled_parent_is_obeyed(server: Server, watch: Watch) -> None:
    span = get(server, watch, "/hello", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert not span.sampled
    assert span.parent_id == PARENT


def test_over_http_2(server: Server, watch: Watch, peer: Client) -> None:
    """The inner call of a watched server goes out without a header; what comes in by HTTP/2 is read the same way."""
    peer.call(server.url("/hello", "https"))
    [span] = watch.take("server")
    assert span["network.protocol.version"] == "2"
    assert span.parent_id == ""


# Sampling


def test_always_off_counts_all_and_samples_none(server: Server) -> None:
    with watching(server.pid, sampling=Sampling(parent_based=False, threshold=0)) as watch:
        load(server.http, "/hello", 50, headers={"traceparent": VALID})
        spans = watch.server()
        assert len(spans) == 50
        assert not any(span.sampled for span in spans)


def test_a_ratio_is_decided_by_the_trace_id(server: Server) -> None:
    threshold = 1 << 62
    with watching(server.pid, sampling=Sampling(parent_based=True, threshold=threshold)) as watch:
        load(server.http, "/hello", 2000, connections=2)
        spans = watch.server()
        assert len(spans) == 2000, "metrics count every request"
        assert 800 < sum(span.sampled for span in spans) < 1200
        for span in spans:
            assert span.sampled == (int(span.trace_id[16:], 16) >> 1 < threshold)


def test_children_do_as_their_parents(server: Server) -> None:
    with watching(server.pid, sampling=Sampling(parent_based=True, threshold=1 << 62)) as watch:
        load(server.http, f"/call?url={server.url('/nothing')}", 60)
        parents = {span.span_id: span for span in watch.server()}
        children = watch.client()
        assert len(children) == 60
        assert all(child.sampled == parents[child.parent_id].sampled for child in children)
        assert {child.sampled for child in children} == {True, False}
