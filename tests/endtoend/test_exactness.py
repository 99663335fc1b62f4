"""Exactly one span for every request whose handler begins and ends under watch: counted by the load, not by us."""

from __future__ import annotations

import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest

import gobuild
from goservers import Client, Server, run_client, serving
from gotap.bpf.codegen.frame import Counter
from httpload import load, request_bytes
from processes import eventually
from watching import Watch, watching

#: What a busy server goes through, stack growth, panics and collections in the mix.
MIX = ["/hello"] * 88 + [
    "/deep?n=2000",
    "/panic",
    "/nothing",
    "/status?code=503",
    "/abort",
    "/hello?a=b&c=d",
    "/stream?n=3",
    "/recovered",
    "/deep?n=20000",
    "/panic-after-write",
    "/gc",
]
MANY = int(os.environ.get("GOTAP_TEST_REQUESTS", "100000"))


@pytest.fixture(scope="module", params=[gobuild.OLDEST, gobuild.NEWEST])
def go(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fresh(go: str) -> Iterator[Server]:
    """A server of its own, so that its own counts are this test's."""
    with serving(gobuild.build("httpserver", go)) as server:
        yield server


@pytest.fixture
def many(go: str, request: pytest.FixtureRequest) -> int:
    """All of them with the newest Go; a fifth with the others, unless there is time."""
    return MANY if go == gobuild.NEWEST or request.config.getoption("--matrix") else MANY // 5


def exact(watch: Watch, kind: str, count: int) -> None:
    watch.settle()
    assert watch.losses() == {}
    assert watch.count(kind) == watch.distinct_ids() == count
    counters = watch.counters
    assert counters[Counter.BEGUN] == counters[Counter.ENDED] == count


def test_many_requests_with_stack_growth_panics_and_collections(fresh: Server, many: int) -> None:
    """POST, since net/http's client would send a lost GET again and nobody would count it."""
    urls = [fresh.url(path) for path in MIX]
    with watching(fresh.pid) as watch, watch.drained():
        outcome = run_client(
            gobuild.build("httpload", gobuild.NEWEST), "-n", str(many), "-c", "16", "-method", "POST", *urls
        )
        assert outcome["requests"] == many
        exact(watch, "server", many)
        statuses = watch.tally("server", "http.response.status_code")
        errors = watch.tally("server", "error.type")
        begun = {path: many // len(MIX) * MIX.count(path) for path in set(MIX)}
        for status, count in outcome["status"].items():
            # A panic behind the headers is a status for the server, an error or a status for its client.
            cut = errors["panic"] - begun["/panic"] if status == "200" else 0
            assert count <= statuses[int(status)] <= count + cut + len(MIX)
        assert abs(errors["abort"] - begun["/abort"]) <= 1
        assert abs(errors["panic"] - begun["/panic"] - begun["/panic-after-write"]) <= 2
    counted = fresh.stop()
    assert sum(route["finished"] for route in counted.values()) == many


def test_pipelined_over_64_connections(fresh: Server) -> None:
    with watching(fresh.pid) as watch, watch.drained():
        paths = ["/hello", "/nothing", "/status?code=404", "/deep?n=500"]
        counts = load(fresh.http, paths, 8000, connections=64, pipeline=5)
        assert counts.handled == 8000
        exact(watch, "server", 8000)


def test_lost_connections_are_counted_alike(fresh: Server) -> None:
    """Panics, aborts and hijacks end their connection; what was pipelined behind them was never taken up."""
    paths = ["/hello", "/nothing", "/hello", "/panic", "/hello", "/hijack", "/hello", "/abort", "/panic-after-write"]
    with watching(fresh.pid) as watch, watch.drained():
        counts = load(fresh.http, paths, 3000, connections=8, pipeline=3)
        assert counts.unanswered
        exact(watch, "server", counts.handled)


def test_http_2_with_many_streams(fresh: Server) -> None:
    number = min(MANY, 20000)
    urls = [fresh.url(path, "https") for path in MIX if path != "/gc"]
    with watching(fresh.pid) as watch, watch.drained():
        load_program = gobuild.build("httpload", gobuild.NEWEST)
        outcome = run_client(load_program, "-n", str(number), "-c", "64", "-method", "POST", *urls)
        assert outcome["requests"] == number
        exact(watch, "server", number)
        assert set(watch.tally("server", "network.protocol.version")) == {"2"}


def test_clients_and_servers_in_one_process(fresh: Server, peer: Client) -> None:
    number = min(MANY, 4000)
    url = fresh.url(f"/call?url={fresh.url('/hello')}")
    with watching(fresh.pid) as watch, watch.drained():
        outcome = run_client(gobuild.build("httpload", gobuild.NEWEST), "-n", str(number), "-c", "16", url)
        assert outcome["status"] == {"200": number}
        watch.settle()
        assert watch.losses() == {}
        assert watch.count("server") == 2 * number
        assert watch.count("client") == number
        assert watch.distinct_ids() == 3 * number


def test_what_began_before_the_attach_or_ends_after_the_detach_gives_no_span(fresh: Server) -> None:
    """The handler ends when its client goes away, so that the test and no clock says when."""

    def ask() -> socket.socket:
        host, _, port = fresh.http.rpartition(":")
        connection = socket.create_connection((host, int(port)), timeout=20)
        connection.sendall(request_bytes("/slow?ms=60000"))
        return connection

    def open_handlers() -> bool:
        with urllib.request.urlopen(fresh.url("/debug/counts")) as answer:
            slow = json.load(answer).get("/slow", {"begun": 0, "finished": 0})
        return bool(slow["begun"] - slow["finished"])

    before = ask()
    eventually(open_handlers, "the request that begins before the attach")
    with watching(fresh.pid) as watch:
        before.close()
        eventually(lambda: watch.counters[Counter.NO_BEGIN], "an end without a begin, counted")
        assert {span["url.path"] for span in watch.server()} <= {"/debug/counts"}
        assert watch.counters[Counter.NO_BEGIN] == 1
        with ask():
            eventually(watch.in_flight, "the request that ends after the detach")
            [target] = watch.watched.values()
            assert watch.detach(target) == 1, "in flight at the detach"


def test_attaching_and_detaching_under_load(fresh: Server) -> None:
    """No request fails, whatever happens to the probes meanwhile."""
    results = []
    worker = threading.Thread(target=lambda: results.append(load(fresh.http, ["/hello", "/deep?n=200"], 6000)))
    worker.start()
    cycles = 0
    while worker.is_alive():
        with watching(fresh.pid) as watch:
            watch.drain()
        cycles += 1
    worker.join()
    assert results[0].status == {200: 6000}
    assert cycles
