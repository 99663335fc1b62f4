"""What programs with gotap's Go runtime send, to which collector, and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status, TracesData

from certificates import self_signed
from cli import attributes
from gotap import __version__
from gotap.commands.targets import resource_of
from gotap.process.proc import Process
from gotap.sinks.environment import Environment
from gotaprt_programs import RELEASES, build, line, running, settings
from otlp_server import Collector, Reply, collector


@pytest.fixture(params=RELEASES, scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(request.param, tmp_path_factory.mktemp("program"))


def resources(otlp: Collector) -> list[ResourceSpans]:
    return [one for request in otlp.requests for one in TracesData.FromString(request.body).resource_spans]


def spans(otlp: Collector) -> list[Span]:
    return [span for one in resources(otlp) for scope in one.scope_spans for span in scope.spans]


def run(program: Path, *words: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], input=given, capture_output=True, text=True, env=environment, timeout=60)


# What is sent


def test_spans_of_every_kind(program: Path) -> None:
    before = time.time_ns()
    with collector() as otlp:
        done = run(program, "kinds", **settings(otlp))
    assert (done.returncode, done.stderr) == (0, "")
    [request] = otlp.requests
    assert request.path == "/v1/traces"
    assert request.headers["content-type"] == "application/x-protobuf"
    assert request.headers["user-agent"] == f"gotap/{__version__}"
    client, internal, server = spans(otlp)
    assert done.stdout.split() == [server.trace_id.hex(), server.span_id.hex()]
    assert server.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert server.parent_span_id.hex() == "00f067aa0ba902b7"
    assert (server.name, server.kind, server.trace_state, server.flags) == ("server", 2, "vendor=1", 0x301)
    assert attributes(server.attributes) == {
        "text": "ä", "int": -5, "float": 0.25, "true": True, "false": False, "replaced": "new", "not utf-8": "a\ufffdb",
        "long": "x" * 300,
    }  # fmt: skip
    assert before <= server.start_time_unix_nano <= client.start_time_unix_nano <= client.end_time_unix_nano
    assert client.end_time_unix_nano <= server.end_time_unix_nano <= time.time_ns()
    assert not server.HasField("status")
    assert (client.name, client.kind, client.flags) == ("renamed", 3, 0x101)
    assert client.status == Status(code=Status.STATUS_CODE_ERROR, message="three")
    assert attributes(client.attributes) == {"error.type": "*errors.errorString"}
    assert {one.parent_span_id for one in (client, internal)} == {server.span_id}
    assert attributes(internal.attributes) == {"error.type": "panic"}
    assert internal.status == Status(code=Status.STATUS_CODE_ERROR)


def test_the_resource_is_the_one_that_gotap_finds_from_outside(program: Path) -> None:
    said = {"OTEL_RESOURCE_ATTRIBUTES": "team=a%20b", "OTEL_BSP_SCHEDULE_DELAY": "1"}
    with collector() as otlp, running(program, "burst", "1", **settings(otlp, **said)) as one:
        otlp.wait(lambda: otlp.spans() == 1)
        found = attributes(resources(otlp)[0].resource.attributes)
        with contextlib.closing(Process(one.pid)) as process:
            watched = resource_of(process, str(found["process.runtime.version"]), Environment({}))
    assert found == watched.attributes
    assert found["service.name"] == "program"
    [scope] = [one.scope for one in resources(otlp)[0].scope_spans]
    assert (scope.name, scope.version) == ("gotap", __version__)


def test_what_the_user_says_of_the_service_wins(program: Path) -> None:
    said = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=other,team=a%20b,host.name=h", "OTEL_SERVICE_NAME": "shop"}
    with collector() as otlp:
        run(program, "kinds", **settings(otlp, **said))
    found = attributes(resources(otlp)[0].resource.attributes)
    assert (found["service.name"], found["team"], found["host.name"]) == ("shop", "a b", "h")


def test_one_connection_serves_all_batches(program: Path) -> None:
    with collector() as otlp:
        done = run(program, "many", given="512\n1100\n1\n", **settings(otlp, OTEL_BSP_SCHEDULE_DELAY="60000"))
    assert done.stdout.split() == ["true"] * 3
    assert otlp.spans() == 1613
    assert len({request.peer for request in otlp.requests}) == 1
    assert max(request.spans() for request in otlp.requests) <= 512


def test_a_full_batch_does_not_wait(program: Path) -> None:
    with (
        collector() as otlp,
        running(program, "burst", "64", **settings(otlp, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="64")) as one,
    ):
        assert line(one.stdout) == "made"
        otlp.wait(lambda: otlp.spans() == 64, 3.0)


def test_headers_paths_and_endpoints_of_the_signal(program: Path) -> None:
    with collector() as otlp:
        told = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x,content-length=0", "OTEL_LOG_LEVEL": "error"}
        run(program, "return", **{**settings(otlp, **told), "OTEL_EXPORTER_OTLP_ENDPOINT": f"{otlp.url}/base/"})
        run(program, "return", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{otlp.url}/own?a=b")
        run(program, "exit", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{otlp.url}/own?a=b")
    paths = [request.path for request in otlp.requests]
    assert paths[-1] == "/own?a=b"
    if len(paths) > 1:  # a main that returns is flushed from Go 1.23 on
        assert paths == ["/base/v1/traces", "/own?a=b", "/own?a=b"]
        assert otlp.requests[0].headers["authorization"] == "Bearer x"


@pytest.mark.parametrize("release", RELEASES)
def test_https_by_the_tls_of_the_program(release: str, tmp_path: Path) -> None:
    program = build(release, tmp_path, tls=True)
    certificate = self_signed(tmp_path)
    with collector(tls=str(certificate)) as otlp:
        done = run(program, "many", given="1\n2\n", **settings(otlp, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificate)))
        assert done.stdout.split() == ["true", "true"]
        assert otlp.spans() == 3
        assert len({request.peer for request in otlp.requests}) == 1
        told = run(program, "many", given="1\n", **settings(otlp, OTEL_LOG_LEVEL="error"))
        assert "certificate" in told.stderr
    assert otlp.spans() == 3


def test_https_without_tls_in_the_program_is_told(program: Path) -> None:
    done = run(program, "exit", OTEL_EXPORTER_OTLP_ENDPOINT="https://127.0.0.1:1", OTEL_LOG_LEVEL="error")
    assert done.returncode == 3
    assert done.stderr.startswith("gotap: spans are not exported: the program does not link crypto/tls")


def test_it_brings_neither_the_c_library_nor_much_else(program: Path) -> None:
    assert b"/ld-linux" not in program.read_bytes(), "package net would have made it dynamically linked"
    assert program.stat().st_size < 4_600_000


# Settings


def test_nothing_is_sent_where_the_sdk_is_disabled_or_nothing_is_sampled(program: Path) -> None:
    with collector() as otlp:
        for name, value in [
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ]:
            assert run(program, "exit", **settings(otlp, **{name: value})).returncode == 3
    assert otlp.requests == []


def test_a_ratio_of_traces(program: Path) -> None:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}
    with collector() as otlp:
        run(program, "many", given="2000\n", **settings(otlp, **sampler))
    assert 380 < otlp.spans() < 620
    assert all(int.from_bytes(span.trace_id[8:], "big") >> 1 < 1 << 61 for span in spans(otlp))


# Collectors that do not work


def test_without_a_collector_it_is_quiet_and_ends_at_once(program: Path) -> None:
    begin = time.monotonic()
    done = run(program, "exit", **settings())
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert time.monotonic() - begin < 0.9, "refused connections are not waited for"
    told = run(program, "exit", **settings(OTEL_LOG_LEVEL="error"))
    assert told.stderr == "gotap: 3 spans are dropped: 127.0.0.1:1: connect: connection refused\n"


def test_a_collector_that_never_answers_delays_the_end_by_a_second(program: Path) -> None:
    held = threading.Event()
    with collector() as otlp:
        otlp.reply = Reply(hold=held)
        begin = time.monotonic()
        assert run(program, "exit", **settings(otlp)).returncode == 3
        assert 0.9 < time.monotonic() - begin < 5
        held.set()


def test_spans_are_sent_again_when_the_collector_asks_for_it(program: Path) -> None:
    refusals = (Reply(503), Reply(429, {"Retry-After": "1"}), Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Le"))
    with (
        collector(*refusals) as otlp,
        running(program, "burst", "5", **settings(otlp, OTEL_BSP_SCHEDULE_DELAY="1")) as one,
    ):
        assert line(one.stdout) == "made"
        otlp.wait(lambda: len(otlp.requests) == 4, 20)
        assert {request.spans() for request in otlp.requests} == {5}
        assert len({request.body for request in otlp.requests}) == 1


def test_what_is_refused_is_not_sent_again(program: Path) -> None:
    with collector(Reply(400)) as otlp:
        done = run(program, "many", given="2\n1\n", **settings(otlp, OTEL_LOG_LEVEL="warn"))
    assert [request.spans() for request in otlp.requests] == [2, 1]
    assert done.stderr == f"gotap: {otlp.url.removeprefix('http://')} answered 400\n"


def test_a_slow_collector_costs_spans_and_no_time(program: Path) -> None:
    held = threading.Event()
    with collector() as otlp:
        otlp.reply = Reply(hold=held)
        sized = {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10", "OTEL_LOG_LEVEL": "warn"}
        with running(program, "burst", "100000", **settings(otlp, **sized)) as one:
            assert line(one.stdout) == "made"
            otlp.reply = Reply()
            held.set()
            otlp.wait(lambda: otlp.spans() >= 100)
            assert one.stdin is not None
            one.stdin.close()
            assert one.wait(10) == 0
            assert one.stderr is not None
            assert "dropped" in one.stderr.read()


# The end of the program


@pytest.mark.parametrize("way", ["return", "exit", "two exits"])
def test_ends_are_flushed(program: Path, way: str, request: pytest.FixtureRequest) -> None:
    if way != "exit" and "1.21" in request.node.name:
        pytest.skip("Go 1.21 and 1.22: only a woven os.Exit or main flushes")
    with collector() as otlp:
        done = run(program, way, **settings(otlp))
        assert done.returncode == (3 if way == "exit" else 0)
        assert done.stderr == ""
    assert otlp.spans() == 3


def test_its_goroutine_is_not_the_program_s(program: Path) -> None:
    with collector() as otlp:
        assert run(program, "hidden", **settings(otlp)).stdout.split() == ["1", "false"]
        # Once there was a span, os/signal has the goroutine that hands signals on.
        assert run(program, "hidden", "span", **settings(otlp)).stdout.split() == ["2", "false"]


def test_under_the_race_detector(tmp_path: Path) -> None:
    program = build("1.26.8", tmp_path, "-race")
    with collector() as otlp:
        done = run(program, "many", given="3000\n7\n", **settings(otlp, OTEL_BSP_MAX_QUEUE_SIZE="100000"))
        assert (done.returncode, done.stdout, done.stderr) == (0, "true\ntrue\n", "")
    assert otlp.spans() == 3007


def test_deadlocks_are_still_found(program: Path) -> None:
    done = run(program, "deadlock", **settings())
    assert done.returncode == 2
    assert "all goroutines are asleep - deadlock!" in done.stderr
    assert "gotap" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_nobody_handles_is_died_by_after_a_flush(program: Path, number: signal.Signals) -> None:
    with collector() as otlp, running(program, "signals", "spans", **settings(otlp)) as one:
        assert line(one.stdout) == "ready"
        one.send_signal(number)
        assert one.wait(10) == -number
    assert otlp.spans() == 6


def test_a_flush_by_signal_takes_a_second_and_a_second_signal_none(program: Path) -> None:
    held = threading.Event()
    with collector() as otlp:
        for signals, least, most in ((1, 0.9, 5.0), (2, 0.0, 0.9)):
            otlp.replies, otlp.requests = [Reply()], []
            otlp.reply = Reply(hold=held)
            with running(program, "signals", "spans", **settings(otlp)) as one:
                assert line(one.stdout) == "ready"
                begin = time.monotonic()
                one.send_signal(signal.SIGTERM)
                otlp.wait(lambda: len(otlp.requests) == 2)
                if signals == 2:
                    one.send_signal(signal.SIGTERM)
                assert one.wait(10) == -signal.SIGTERM
                assert least < time.monotonic() - begin < most
        held.set()


def test_a_signal_that_the_program_handles_is_its_own(program: Path) -> None:
    for order in (["notify", "spans"], ["spans", "notify"], ["spans", "ignore", "notify"]):
        with collector() as otlp, running(program, "signals", *order, **settings(otlp)) as one:
            assert line(one.stdout) == "ready"
            one.send_signal(signal.SIGTERM)
            assert line(one.stdout) == "handled terminated"
            assert one.wait(10) == 0


def test_an_ignored_signal_stays_ignored(program: Path) -> None:
    for order in (["ignore", "spans"], ["spans", "ignore"]):
        with collector() as otlp, running(program, "signals", *order, **settings(otlp)) as one:
            assert line(one.stdout) == "ready"
            one.send_signal(signal.SIGTERM)
            assert one.stdin is not None
            one.stdin.close()
            assert line(one.stdout) == "end of input"
            assert one.wait(10) == 4


@pytest.mark.parametrize("order", [["spans", "notify", "stop"], ["spans", "reset"], ["notify", "stop", "spans"]])
def test_a_handler_that_was_taken_away_handles_nothing(program: Path, order: list[str]) -> None:
    with collector() as otlp, running(program, "signals", *order, **settings(otlp)) as one:
        assert line(one.stdout) == "ready"
        one.send_signal(signal.SIGTERM)
        assert one.wait(10) == -signal.SIGTERM


def test_a_program_started_with_interrupts_ignored_is_not_ended_by_one(program: Path) -> None:
    """As shells start what runs in the background."""
    with collector() as otlp:
        words = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", str(program), "signals", "spans"]
        with running(Path(words[0]), *words[1:], **settings(otlp)) as one:
            assert line(one.stdout) == "ready"
            one.send_signal(signal.SIGINT)
            one.send_signal(signal.SIGTERM)
            assert one.wait(10) == -signal.SIGTERM


def test_signals_are_left_alone_until_there_is_a_span(program: Path) -> None:
    """What the runtime catches costs it the notice that all goroutines are asleep."""
    with running(program, "signals", **settings()) as one:
        assert line(one.stdout) == "ready"
        one.send_signal(signal.SIGTERM)
        assert one.wait(10) == -signal.SIGTERM


def test_a_descriptor_is_not_left_to_children(program: Path) -> None:
    with collector() as otlp, running(program, "burst", "1", **settings(otlp, OTEL_BSP_SCHEDULE_DELAY="1")) as one:
        otlp.wait(lambda: otlp.spans() == 1)
        folder = Path(f"/proc/{one.pid}/fd")
        for path in folder.iterdir():
            if "socket" in os.readlink(path):
                flags = Path(f"/proc/{one.pid}/fdinfo/{path.name}").read_text().split("flags:")[1].split()[0]
                assert int(flags, 8) & os.O_CLOEXEC
