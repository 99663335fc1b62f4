"""--to otlp against collectors as they come: good, gone, slow, lying. The target serves on, and losses are counted."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Mapping

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from cli import Finished, started
from goservers import Server
from httpload import load
from kernel_access import needs_bpf
from otlp_server import Collector, Reply, collector

pytestmark = [pytest.mark.root, needs_bpf]

#: Sends early and gives up early, so that tests need not wait.
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}


def exported(server: Server, url: str, requests: int = 20, variables: Mapping[str, str] | None = None) -> Finished:
    """Spans of `requests` requests sent to the collector at `url`; SIGTERM when the last request is answered."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **QUICK, **(variables or {})}
    with started("attach", str(server.pid), "--to", "otlp", environment=environment) as watching:
        watching.attached()
        assert load(server.http, "/hello", requests).status == {200: requests}
        done = watching.finish(signal.SIGTERM)
    assert done.code == 0
    assert done.summary.spans == requests
    assert done.out == b""
    return done


def traces(state: Collector) -> int:
    return sum(request.spans() for request in state.requests if request.path == "/v1/traces")


def test_all_spans_and_the_metrics_arrive(server: Server) -> None:
    with collector() as state:
        done = exported(server, state.url, 300)
    assert done.summary.dropped == 0
    assert traces(state) == 300
    bodies = [request.body for request in state.requests if request.path == "/v1/metrics"]
    (metric,) = MetricsData.FromString(bodies[-1]).resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == "http.server.request.duration"
    assert sum(point.count for point in metric.histogram.data_points) == 300
    (request, *_) = state.requests
    assert request.headers["content-type"] == "application/x-protobuf"
    assert "content-encoding" not in request.headers


def test_gzip_and_headers_when_they_are_asked_for(server: Server) -> None:
    variables = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=7"}
    with collector() as state:
        exported(server, state.url, variables=variables)
    assert traces(state) == 20
    assert {request.headers["content-encoding"] for request in state.requests} == {"gzip"}
    assert {request.headers["x-tenant"] for request in state.requests} == {"7"}


def test_down(server: Server, closed_port: str) -> None:
    done = exported(server, f"http://{closed_port}")
    assert f"otlp: http://{closed_port}/v1/traces cannot be reached" in done.err
    assert done.err.count("/v1/traces cannot be reached") == 1, "told once"
    assert done.summary.causes == {"export failed": 20}


def test_a_name_that_does_not_resolve(server: Server) -> None:
    done = exported(server, "http://collector.invalid:4318")
    assert "collector.invalid:4318/v1/traces cannot be reached" in done.err
    assert done.summary.dropped == 20


def test_one_that_accepts_and_never_answers(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begin = time.monotonic()
        done = exported(
            server, f"http://127.0.0.1:{silent.getsockname()[1]}", variables={"OTEL_BSP_EXPORT_TIMEOUT": "0"}
        )
    assert time.monotonic() - begin < 20, "an end that waits for no collector"
    assert done.summary.dropped == 20


def test_one_that_never_answers_costs_no_more_than_the_queue(server: Server) -> None:
    variables = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32"}
    with collector() as state:
        state.reply = Reply(hold=state.released)
        done = exported(server, state.url, 1000, variables)
    assert done.summary.causes["export queue full"] >= 1000 - 3 * 64
    assert done.summary.dropped == sum(done.summary.causes.values()) == 1000


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_one_that_is_overloaded_for_a_while_loses_nothing(server: Server, status: int) -> None:
    busy = Reply(status, {"Retry-After": "1"})
    with collector(busy, busy) as state:
        done = exported(server, state.url)
    assert done.summary.dropped == 0
    assert traces(state) >= 20
    assert f"{status}" in done.err
    assert "gotap tries again" in done.err


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_one_that_refuses(server: Server, status: int) -> None:
    with collector() as state:
        state.reply = Reply(status)
        done = exported(server, state.url)
    assert str(status) in done.err
    assert "dropped, and counted" in done.err
    assert done.summary.causes == {"export failed": 20}


@pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"\0" * 4096])
def test_one_that_answers_nonsense(server: Server, raw: bytes) -> None:
    with collector() as state:
        state.reply = Reply(raw=raw)
        done = exported(server, state.url)
    assert "otlp: " in done.err
    assert done.summary.dropped == 20


def test_a_web_page_is_not_taken_for_a_collector(server: Server) -> None:
    with collector() as state:
        state.reply = Reply(headers={"Content-Type": "text/html"}, body=b"<html>Welcome</html>")
        done = exported(server, state.url)
    assert "not as OTLP does: is it a collector?" in done.err


def test_the_target_serves_at_its_own_pace_whatever_the_collector_does(server: Server) -> None:
    """Answers that are held back for as long as the load lasts change no answer of the target."""
    with collector() as state:
        state.reply = Reply(hold=state.released)
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": state.url, **QUICK}
        arguments = ("attach", str(server.pid), "--to", "otlp", "--to", "json")
        with started(*arguments, environment=environment) as watching:
            watching.attached()
            threading.Timer(1.0, state.released.set).start()
            assert load(server.http, "/hello", 500, connections=4).status == {200: 500}
            watching.wait_for_spans(500)
            done = watching.finish(signal.SIGINT)
    assert len(done.spans) == 500, "the other destination does not wait either"
