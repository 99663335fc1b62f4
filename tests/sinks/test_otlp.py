"""The exporter against a real HTTP server that is well, down, slow, or talks nonsense."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from certificates import self_signed
from gotap import __version__
from gotap.sinks.environment import BatchSettings, Environment, OtlpSettings, otlp_settings
from gotap.sinks.http_post import CertificateUnusable
from gotap.sinks.otlp import OtlpSink
from metric_samples import expected_metrics, histograms
from otlp_json_reader import read_metrics, read_traces
from otlp_server import Reply, collector
from span_samples import random_spans

PATIENT = BatchSettings(delay=60.0)
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


class Exporter:
    """A sink that sends to a server, and what it told."""

    def __init__(self, url: str, batch: BatchSettings = PATIENT, **settings: object) -> None:
        self.told: list[str] = []
        traces = OtlpSettings(f"{url}/v1/traces", **settings)  # type: ignore[arg-type]
        metrics = OtlpSettings(f"{url}/v1/metrics", **settings)  # type: ignore[arg-type]
        self.sink = OtlpSink(traces, metrics, batch, self.told.append)

    @property
    def traces(self) -> tuple[int, int, int, int]:
        """Exported, rejected, dropped because the queue was full, dropped because it failed."""
        stats = self.sink.stats[0]
        return stats.exported, stats.rejected, stats.dropped_full, stats.dropped_failed


@contextmanager
def exporter(url: str, batch: BatchSettings = PATIENT, **settings: object) -> Iterator[Exporter]:
    one = Exporter(url, batch, **settings)
    try:
        yield one
    finally:
        one.sink.close(0.2)


def free_port_url() -> str:
    """A URL where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


class TestBatching:
    def test_full_batches_are_sent_at_once_and_the_rest_at_the_end(self) -> None:
        with collector() as server, exporter(server.url) as one:
            for seed in range(5):
                one.sink.export(random_spans(seed, 300))
            server.wait(lambda: len(server.requests) == 2)
            assert [request.spans() for request in server.requests] == [512, 512]
            one.sink.close(10.0)
            assert [request.spans() for request in server.requests] == [512, 512, 476]
            assert one.traces == (1500, 0, 0, 0)
            assert one.told == []

    def test_a_batch_larger_than_a_request_is_split_and_no_span_is_lost_or_doubled(self) -> None:
        with collector() as server, exporter(server.url, BatchSettings(delay=60.0, batch=100)) as one:
            spans = random_spans(1, 1050)
            one.sink.export(spans)
            one.sink.close(10.0)
            assert [request.spans() for request in server.requests] == [100] * 10 + [50]
            ids = [
                span.span_id
                for request in server.requests
                for each in TracesData.FromString(request.body).resource_spans
                for span in each.scope_spans[0].spans
            ]
            assert ids == [one_id.tobytes() for one_id in spans.span_id]

    def test_few_spans_wait_for_the_delay_only(self) -> None:
        with collector() as server, exporter(server.url, BatchSettings(delay=0.05)) as one:
            one.sink.export(random_spans(1, 3))
            server.wait(lambda: server.spans() == 3)

    def test_what_is_not_sampled_is_not_exported(self) -> None:
        with collector() as server, exporter(server.url) as one:
            spans = random_spans(1, 200, sampled=0.3)
            one.sink.export(spans)
            one.sink.export(random_spans(2, 20, sampled=0.0))
            one.sink.close(10.0)
            assert server.spans() == one.traces[0] == spans.sampled.sum()

    def test_one_connection_is_kept(self) -> None:
        with collector() as server, exporter(server.url, BatchSettings(delay=60.0, batch=10)) as one:
            one.sink.export(random_spans(1, 100))
            one.sink.close(10.0)
            assert len({request.peer for request in server.requests}) == 1

    def test_a_connection_that_the_server_closed_is_renewed_without_a_word(self) -> None:
        with (
            collector(Reply(headers={"Connection": "keep-alive"})) as server,
            exporter(server.url, BatchSettings(delay=60.0, batch=10)) as one,
        ):
            server.reply = Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")  # and closes, unannounced
            for count in range(1, 6):
                one.sink.export(random_spans(1, 10))
                server.wait(lambda count=count: len(server.requests) >= count)  # type: ignore[misc]
            one.sink.close(10.0)
            assert one.traces == (50, 0, 0, 0)
            assert one.told == []


class TestRequests:
    def test_headers_and_paths(self) -> None:
        headers = (("Authorization", "Bearer x y"), ("user-agent", "mine"))
        with collector() as server, exporter(server.url, headers=headers) as one:
            one.sink.export(random_spans(1, 3))
            one.sink.export_metrics(histograms(1))
            one.sink.close(10.0)
            by_path = {request.path: request for request in server.requests}
            assert set(by_path) == {"/v1/traces", "/v1/metrics"}
            found = by_path["/v1/traces"].headers
            assert found["content-type"] == "application/x-protobuf"
            assert found["authorization"] == "Bearer x y"
            assert found["user-agent"] == "mine"
            assert "content-encoding" not in found
            assert MetricsData.FromString(by_path["/v1/metrics"].body) == expected_metrics(histograms(1), __version__)

    def test_gzip(self) -> None:
        with collector() as server, exporter(server.url, gzip=True) as one:
            one.sink.export(random_spans(1, 30))
            one.sink.close(10.0)
            assert server.requests[0].headers["content-encoding"] == "gzip"
            assert server.requests[0].headers["user-agent"] == f"gotap/{__version__}"
            assert server.spans() == 30

    def test_json(self) -> None:
        with collector() as server, exporter(server.url, json=True) as one:
            one.sink.export(random_spans(1, 3))
            one.sink.export(random_spans(2, 4))
            one.sink.export_metrics(histograms(1))
            one.sink.close(10.0)
            by_path = {request.path: request for request in server.requests}
            assert by_path["/v1/traces"].headers["content-type"] == "application/json"
            read = read_traces(by_path["/v1/traces"].body)
            assert [len(one.scope_spans[0].spans) for one in read.resource_spans] == [3, 4]
            assert len(read_metrics(by_path["/v1/metrics"].body).resource_metrics) == 2

    def test_settings_of_the_environment(self) -> None:
        with collector() as server:
            environment = Environment({"OTEL_EXPORTER_OTLP_ENDPOINT": f"{server.url}/base/"})
            sink = OtlpSink(otlp_settings(environment, "TRACES"), otlp_settings(environment, "METRICS"), PATIENT, print)
            sink.export(random_spans(1, 3))
            sink.export_metrics(histograms(1))
            sink.close(10.0)
            assert {request.path for request in server.requests} == {"/base/v1/traces", "/base/v1/metrics"}


class TestRetries:
    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_the_same_request_again(self, status: int) -> None:
        with (
            collector(Reply(status), Reply(status)) as server,
            exporter(server.url, BatchSettings(delay=0.0)) as one,
        ):
            one.sink.export(random_spans(1, 3))
            server.wait(lambda: len(server.requests) == 3)
            one.sink.close(10.0)
            assert len({request.body for request in server.requests}) == 1
            assert one.traces == (3, 0, 0, 0)
            assert one.sink.stats[0].retries == 2
            assert len(one.told) == 1
            assert str(status) in one.told[0]

    def test_retry_after_is_honoured(self) -> None:
        with (
            collector(Reply(503, {"Retry-After": "1"})) as server,
            exporter(server.url, BatchSettings(delay=0.0)) as one,
        ):
            start = time.monotonic()
            one.sink.export(random_spans(1, 3))
            server.wait(lambda: len(server.requests) == 2)
            assert time.monotonic() - start >= 1.0

    def test_time_for_retries_is_bounded(self) -> None:
        with collector() as server:
            server.reply = Reply(503, {"Retry-After": "3600"})
            with exporter(server.url, BatchSettings(delay=0.0, export_timeout=5.0)) as one:
                one.sink.export(random_spans(1, 3))
                wait_until(lambda: one.traces == (0, 0, 0, 3))
                assert len(server.requests) == 1

    @pytest.mark.parametrize("value", ["0", "Mon, 01 Jan 2001 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +999999999999"])
    def test_retry_after_does_not_shorten_the_back_off(self, value: str) -> None:
        with collector() as server:
            server.reply = Reply(503, {"Retry-After": value})
            with exporter(server.url, BatchSettings(delay=0.0, export_timeout=1.5)) as one:
                one.sink.export(random_spans(1, 3))
                wait_until(lambda: one.traces == (0, 0, 0, 3))
                assert len(server.requests) <= 3  # the waits are at least 0.25, 0.5, 1 s

    def test_retry_after_holds_for_the_requests_that_follow(self) -> None:
        with (
            collector(Reply(503, {"Retry-After": "9" * 400})) as server,
            exporter(server.url, BatchSettings(delay=0.0, export_timeout=5.0, batch=10, queue=40)) as one,
        ):
            one.sink.export(random_spans(1, 30))
            wait_until(lambda: one.traces == (0, 0, 0, 10))
            one.sink.export(random_spans(2, 50))  # finds the other 20 in the queue
            assert one.traces == (0, 0, 30, 10)
            assert len(server.requests) == 1
            one.sink.close(10.0)
            assert one.traces == (40, 0, 30, 10)

    @pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 301])
    def test_other_statuses_drop_what_was_sent_and_are_told_once(self, status: int) -> None:
        with collector() as server:
            server.reply = Reply(status, {"Location": "http://elsewhere/"})
            with exporter(server.url, BatchSettings(delay=60.0, batch=10)) as one:
                one.sink.export(random_spans(1, 30))
                one.sink.close(10.0)
                assert len(server.requests) == 3
                assert one.traces == (0, 0, 0, 30)
                (told,) = one.told
                assert f"answered {status}" in told

    def test_a_server_that_comes_later(self) -> None:
        url = free_port_url()
        with exporter(url, BatchSettings(delay=0.0)) as one:
            one.sink.export(random_spans(1, 3))
            wait_until(lambda: bool(one.told))
            assert "Connection refused" in one.told[0]
            with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))) as server:
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    wait_until(lambda: one.traces == (3, 0, 0, 0))
            assert len(one.told) == 1


class TestAnswers:
    @pytest.mark.parametrize("json", [False, True])
    def test_partial_success_is_counted_and_told(self, json: bool) -> None:
        if json:
            body = b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}'
            reply = Reply(body=body, headers=JSON)
        else:
            partial = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
            reply = Reply(
                body=ExportTraceServiceResponse(partial_success=partial).SerializeToString(), headers=PROTOBUF
            )
        with collector(reply) as server, exporter(server.url) as one:
            one.sink.export(random_spans(1, 10))
            one.sink.close(10.0)
            assert one.traces == (8, 2, 0, 0)
            assert "rejected 2 spans: too old" in one.told[0]

    def test_full_success_with_a_body(self) -> None:
        full = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess()).SerializeToString()
        with collector(Reply(body=full, headers=PROTOBUF)) as server, exporter(server.url) as one:
            one.sink.export(random_spans(1, 10))
            one.sink.close(10.0)
            assert one.traces == (10, 0, 0, 0)
            assert one.told == []

    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (b"<html>hello</html>", "text/html"),
            (b"[]", "application/json"),
            (b"{", "application/json"),
            (b'{"partialSuccess":{"rejectedSpans":"many"}}', "application/json"),
            (b'{"partialSuccess":{"rejectedSpans":[1]}}', "application/json"),
            (b'{"partialSuccess":{"rejectedSpans":{"a":1}}}', "application/json"),
            (b'{"partialSuccess":{"rejectedSpans":1e308}}', "application/json"),
            (b'{"partialSuccess":{"errorMessage":[1]}}', "application/json"),
            (b"[" * 5000, "application/json"),
            (b"\xff" * 50, "application/x-protobuf"),
            (b"\x07" * (5 << 20), "application/x-protobuf"),
        ],
    )
    def test_nonsense_bodies(self, body: bytes, kind: str) -> None:
        with collector(Reply(body=body, headers={"Content-Type": kind})) as server, exporter(server.url) as one:
            one.sink.export(random_spans(1, 10))
            one.sink.close(10.0)
            assert one.traces == (10, 0, 0, 0)
            assert "is it a collector?" in one.told[0]

    def test_reason_of_a_refusal_is_told(self) -> None:
        with (
            collector(Reply(400, {"Content-Type": "application/json"}, b'{"code":3,"message":"bad\\nspan"}')) as server,
            exporter(server.url) as one,
        ):
            one.sink.export(random_spans(1, 1))
            one.sink.close(10.0)
            assert "400 Bad Request: bad span" in one.told[0]

    @pytest.mark.parametrize("raw", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x00\x12\x04", b"", b"HTTP/1.1 abc\r\n\r\n"])
    def test_what_is_not_http_is_not_waited_for_at_the_end(self, raw: bytes) -> None:
        with collector() as server:
            server.reply = Reply(raw=raw)
            with exporter(server.url) as one:
                one.sink.export(random_spans(1, 10))
                one.sink.close(10.0)
                assert one.traces == (0, 0, 0, 10)
                assert "cannot be reached" in one.told[0]


class TestFaults:
    """Of gotap's own: they cost a batch."""

    def test_batch_that_cannot_be_encoded(self) -> None:
        with collector() as server, exporter(server.url, BatchSettings(delay=60.0, batch=10)) as one:
            broken = random_spans(1, 10)
            broken.attributes = {"path": None}  # type: ignore[dict-item]
            broken.sampled[:] = True
            for spans in (broken, random_spans(2, 10), broken, random_spans(3, 10)):
                one.sink.export(spans)
            one.sink.close(10.0)
            assert one.traces == (20, 0, 0, 20)
            assert server.spans() == 20
            (told,) = one.told
            assert "spans are dropped, and counted" in told

    def test_telling_that_fails(self) -> None:
        def tell(_: str) -> None:
            raise BrokenPipeError

        with collector(Reply(400), Reply(400)) as server:
            settings = OtlpSettings(f"{server.url}/v1/traces")
            sink = OtlpSink(settings, settings, BatchSettings(delay=60.0, batch=10), tell)
            sink.export(random_spans(1, 40))
            sink.close(10.0)
            assert (sink.stats[0].exported, sink.stats[0].dropped_failed) == (20, 20)


class TestNeverBlocks:
    def test_queue_is_bounded_and_drops_are_counted(self) -> None:
        hold = threading.Event()
        with collector() as server:
            server.reply = Reply(hold=hold)
            with exporter(server.url, BatchSettings(delay=60.0, batch=100, queue=1000)) as one:
                one.sink.export(random_spans(1, 100))
                server.wait(lambda: len(server.requests) == 1)  # which is held
                start = time.monotonic()
                for seed in range(20):
                    one.sink.export(random_spans(seed, 70))
                assert time.monotonic() - start < 5.0
                assert one.sink.stats[0].dropped_full == 20 * 70 - 1000
                assert sum("queue" in told for told in one.told) == 1
                hold.set()
                one.sink.close(10.0)
                assert one.traces == (1100, 0, 400, 0)
                assert server.spans() == 1100

    def test_a_server_that_never_answers_costs_the_timeout(self) -> None:
        with collector() as server:
            server.reply = Reply(hold=server.released)
            with exporter(server.url, BatchSettings(delay=0.0, export_timeout=0.4), timeout=0.3) as one:
                one.sink.export(random_spans(1, 10))
                wait_until(lambda: one.traces == (0, 0, 0, 10))
                assert "no answer within 0.3 s" in one.told[0]

    def test_a_server_that_drips_cannot_stretch_the_timeout(self) -> None:
        """Bytes that keep coming renew the timeout of a socket, not that of the exchange."""
        with dripping_server() as url, exporter(url, BatchSettings(delay=0.0, export_timeout=0.6), timeout=0.5) as one:
            one.sink.export(random_spans(1, 10))
            wait_until(lambda: one.traces == (0, 0, 0, 10))
            assert "no answer within 0.5 s" in one.told[0]

    def test_close_does_not_wait_for_a_server_that_never_answers(self) -> None:
        with collector() as server:
            server.reply = Reply(hold=server.released)
            with exporter(server.url, BatchSettings(delay=60.0, batch=10)) as one:
                one.sink.export(random_spans(1, 35))
                server.wait(lambda: len(server.requests) == 1)
                start = time.monotonic()
                one.sink.close(0.3)
                assert time.monotonic() - start < 3.0
                assert one.traces == (0, 0, 0, 35)
                one.sink.export(random_spans(1, 5))  # after the end: counted
                assert one.traces == (0, 0, 5, 35)

    def test_close_counts_what_a_thread_that_cannot_be_stopped_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked, release = threading.Event(), threading.Event()

        def hang(*_args: object, **_kwargs: object) -> None:
            asked.set()
            release.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        before = set(threading.enumerate())
        with exporter("http://slow.test", BatchSettings(delay=60.0, batch=10)) as one:
            one.sink.export(random_spans(1, 35))
            assert asked.wait(10)
            one.sink.close(0.1)
            assert one.traces == (0, 0, 0, 35)
            release.set()
            for thread in set(threading.enumerate()) - before:
                thread.join(10)
            assert one.traces == (0, 0, 0, 35)

    def test_close_with_nobody_listening_is_quick(self) -> None:
        with exporter(free_port_url(), BatchSettings(delay=60.0, batch=10)) as one:
            one.sink.export(random_spans(1, 35))
            start = time.monotonic()
            one.sink.close(30.0)
            assert time.monotonic() - start < 5.0
            assert one.traces == (0, 0, 0, 35)
            assert len(one.told) == 1

    def test_close_cuts_a_back_off_short_and_tries_once_more(self) -> None:
        with (
            collector(Reply(503, {"Retry-After": "20"})) as server,
            exporter(server.url, BatchSettings(delay=0.0)) as one,
        ):
            one.sink.export(random_spans(1, 10))
            wait_until(lambda: bool(one.told))
            start = time.monotonic()
            one.sink.close(10.0)
            assert time.monotonic() - start < 5.0
            assert one.traces == (10, 0, 0, 0)
            assert server.spans() == 20  # the same ten twice

    def test_no_thread_is_left(self) -> None:
        before = set(threading.enumerate())
        with collector() as server, exporter(server.url) as one:
            one.sink.export(random_spans(1, 10))
            one.sink.close(10.0)
            assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("otlp")]


def test_certificates_that_cannot_be_used() -> None:
    with pytest.raises(CertificateUnusable, match=r"/missing\.pem") as caught:
        Exporter("https://127.0.0.1:1", certificate="/missing.pem")
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in caught.value.remedy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


class TestTls:
    def test_trusted_by_its_file(self, certificate: Path) -> None:
        with (
            collector(tls=str(certificate)) as server,
            exporter(server.url, certificate=str(certificate)) as one,
        ):
            one.sink.export(random_spans(1, 10))
            one.sink.close(10.0)
            assert one.traces == (10, 0, 0, 0)

    def test_not_trusted(self, certificate: Path) -> None:
        with collector(tls=str(certificate)) as server, exporter(server.url) as one:
            one.sink.export(random_spans(1, 10))
            one.sink.close(10.0)
            assert one.traces == (0, 0, 0, 10)
            assert "its certificate is not trusted" in one.told[0]

    def test_close_with_tls_and_a_server_that_never_answers(self, certificate: Path) -> None:
        with (
            collector(tls=str(certificate)) as server,
            exporter(server.url, BatchSettings(delay=0.0), certificate=str(certificate)) as one,
        ):
            server.reply = Reply(hold=server.released)
            one.sink.export(random_spans(1, 10))
            server.wait(lambda: len(server.requests) == 1)
            start = time.monotonic()
            one.sink.close(0.2)
            assert time.monotonic() - start < 3.0
            assert one.traces == (0, 0, 0, 10)

    def test_plain_http_server_behind_an_https_url(self) -> None:
        with collector() as server, exporter(server.url.replace("http:", "https:")) as one:
            one.sink.export(random_spans(1, 10))
            one.sink.close(10.0)
            assert one.traces == (0, 0, 0, 10)
            assert "cannot be reached" in one.told[0]


def wait_until(condition: object, timeout: float = 10.0) -> None:
    assert callable(condition)
    pause = threading.Event()
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        pause.wait(0.01)


@contextmanager
def dripping_server() -> Iterator[str]:
    """Answers each connection with a header line that never ends, a byte at a time."""
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nX: ")
                while not stop.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                pass

    def accept(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        acceptor = threading.Thread(target=accept, args=(server,), daemon=True)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            server.shutdown(socket.SHUT_RDWR)
            acceptor.join()
