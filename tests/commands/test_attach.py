"""gotap attach as a user types it: several targets, limits, signals, the summary, and what leaving leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from cli import ATTACHED, attributes, gotap, measured, resource_spans, started, text_is_original
from goservers import Server, serving
from httpload import load, request_bytes
from kernel_access import needs_bpf
from processes import eventually, running

pytestmark = [pytest.mark.root, needs_bpf]


def test_spans_and_metrics_of_what_already_runs(server: Server) -> None:
    with started("attach", str(server.pid), "--to", "json") as watching:
        watching.attached()
        counts = load(server.http, ["/hello", "/status?code=500", "/users/7"], 60)
        watching.wait_for_spans(60)
        done = watching.finish(signal.SIGINT)
    assert done.code == 0
    assert counts.answered == 60
    names = [span.name for span in done.spans]
    assert {name: names.count(name) for name in names} == {"GET /hello": 20, "GET /status": 20, "GET /users/{id}": 20}
    assert measured(done.out, "http.server.request.duration") == 60
    assert (done.summary.spans, done.summary.errors, done.summary.dropped) == (60, 20, 0)
    assert "attached for" in done.err
    assert "probe hits" in done.err, "cost per hit"
    assert text_is_original(server.pid)


def test_several_targets_are_announced_in_one_line_after_the_last(httpserver: Path, server: Server) -> None:
    with serving(httpserver) as other, started("attach", str(server.pid), str(other.pid), "--to", "json") as watching:
        watching.attached()
        line = next(line for line in watching.err.splitlines() if line.startswith(ATTACHED))
        assert line == f"{ATTACHED}{server.pid} (httpserver), {other.pid} (httpserver)"
        load(server.http, "/hello", 3)
        load(other.http, "/hello", 4)
        watching.wait_for_spans(7)
        done = watching.finish(signal.SIGTERM)
    assert done.code == 0
    assert done.err.count(ATTACHED) == 1
    per_process = {server.pid: 0, other.pid: 0}
    for one in resource_spans(done.out):
        per_process[attributes(one.resource.attributes)["process.pid"]] += len(one.scope_spans[0].spans)
    assert per_process == {server.pid: 3, other.pid: 4}


def test_a_name_means_all_processes_of_that_executable(httpserver: Path, tmp_path: Path) -> None:
    executable = Path(shutil.copy(httpserver, tmp_path / "service-of-this-test"))
    with (
        serving(executable) as first,
        serving(executable) as second,
        started("attach", "service-of-this-test", "--to", "json") as watching,
    ):
        watching.attached()
        assert {str(first.pid), str(second.pid)} <= set(watching.err.split())
        load(first.http, "/hello", 1)
        load(second.http, "/hello", 1)
        watching.wait_for_spans(2)
        done = watching.finish(signal.SIGINT)
    names = {attributes(one.resource.attributes)["service.name"] for one in resource_spans(done.out)}
    assert names == {"service-of-this-test"}


def test_a_path_means_all_processes_that_run_the_file(httpserver: Path, tmp_path: Path) -> None:
    executable = Path(shutil.copy(httpserver, tmp_path / "service"))
    with (
        serving(executable) as first,
        serving(executable) as second,
        started("attach", str(executable), "--to", "json") as watching,
    ):
        watching.attached()
        assert {str(first.pid), str(second.pid)} <= set(watching.err.split())
        watching.finish(signal.SIGINT)


def test_of_many_that_are_no_go_programs_a_name_tells_in_one_line(httpserver: Path, tmp_path: Path) -> None:
    """As when a name is also that of shells, or of a launcher."""
    program, other = tmp_path / "chorus", tmp_path / "solo"
    for one in (program, other):
        shutil.copy(shutil.which("sleep") or "", one)
    with contextlib.ExitStack() as stack:
        singers = [stack.enter_context(running(str(program), "60")) for _ in range(7)]
        soloist = stack.enter_context(running(str(other), "60"))
        eventually(lambda: all(runs(one.pid, "chorus") for one in singers) and runs(soloist.pid, "solo"), "the execs")
        done = gotap("attach", "chorus", str(soloist.pid), "--to", "json")
    assert done.code == 1
    pids = ", ".join(str(pid) for pid in sorted(one.pid for one in singers)[:5])
    assert done.err.splitlines() == [
        f"gotap: {pids} and 2 more: chorus is not a Go program: it has no Go function table",
        f"gotap: {soloist.pid}: solo is not a Go program: it has no Go function table",
        "gotap: name a program built with `go build`",
    ]


def runs(pid: int, name: str) -> bool:
    return os.readlink(f"/proc/{pid}/exe").endswith(f"/{name}")


def test_targets_that_fail_are_told_and_the_others_go_on(server: Server, hello: Path) -> None:
    targets = ["no-such-service", "4194399999", "2", str(server.pid)]
    with started("attach", *targets, "--to", "json", "--count", "2") as watching:
        watching.attached()
        load(server.http, "/hello", 2)
        done = watching.finish()
    assert done.code == 0
    assert len(done.spans) == 2
    told = done.err[: done.err.index(ATTACHED)]
    assert "no running process is named 'no-such-service'" in told
    assert "process 4194399999 is gone" in told
    assert "2 is the kernel thread kthreadd" in told


def test_exit_code_1_when_no_target_is_left() -> None:
    for targets in (["no-such-service"], ["4194399999", "2"]):
        done = gotap("attach", *targets, "--to", "json")
        assert done.code == 1
        assert done.out == b""
        assert ATTACHED not in done.err


def test_the_same_target_named_twice_is_watched_once(server: Server) -> None:
    with started("attach", str(server.pid), str(server.pid), "--to", "json", "--count", "3") as watching:
        watching.attached()
        assert watching.err.count(str(server.pid)) == 1
        load(server.http, "/hello", 3)
        assert len(watching.finish().spans) == 3


def test_two_gotaps_watch_the_same_process(server: Server) -> None:
    arguments = ("attach", str(server.pid), "--to", "json")
    with started(*arguments) as first, started(*arguments) as second:
        first.attached()
        second.attached()
        load(server.http, "/hello", 10)
        first.wait_for_spans(10)
        first.finish(signal.SIGINT)
        load(server.http, "/hello", 5)
        second.wait_for_spans(15)
        assert len(second.finish(signal.SIGINT).spans) == 15
    assert text_is_original(server.pid)


# Limits


def test_count_is_exact_however_many_arrive_at_once(server: Server) -> None:
    with started("attach", str(server.pid), "--to", "json", "--count", "7") as watching:
        watching.attached()
        counts = load(server.http, "/hello", 400, connections=4, pipeline=50)
        done = watching.finish()
    assert counts.answered == 400
    assert done.code == 0
    assert len(done.spans) == 7
    assert done.summary.spans == 7
    assert measured(done.out, "http.server.request.duration") == 7


def test_duration_ends_the_watching(server: Server) -> None:
    with started("attach", str(server.pid), "--to", "json", "--duration", "600ms") as watching:
        watching.attached()
        begin = time.monotonic()
        done = watching.finish()
    assert done.code == 0
    assert done.summary.spans == 0
    assert 0.3 < time.monotonic() - begin < 10
    assert text_is_original(server.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_cleanly_with_the_summary(server: Server, number: signal.Signals) -> None:
    with started("attach", str(server.pid), "--to", "json") as watching:
        watching.attached()
        load(server.http, "/hello", 1)
        done = watching.finish(number)
    assert done.code == 0
    assert len(done.spans) == done.summary.spans == 1, "what had arrived by then is written out"
    assert text_is_original(server.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_probes_are_in_place_ends_gotap_without_a_traceback(
    server: Server, number: signal.Signals
) -> None:
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4):
        with started("attach", str(server.pid), "--to", "json") as watching:
            eventually(lambda pid=watching.pid: "numpy" in mapped_files(pid), "imports of gotap's own")  # type: ignore[misc]
            time.sleep(delay)  # anywhere between the imports and the end of attaching: all moments must be good
            done = watching.finish(number)
        assert done.code in (0, 128 + number)
    assert text_is_original(server.pid)


def mapped_files(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_the_last_targets_end_ends_gotap(httpserver: Path) -> None:
    with (
        serving(httpserver) as one,
        serving(httpserver) as other,
        started("attach", str(one.pid), str(other.pid), "--to", "json") as watching,
    ):
        watching.attached()
        load(one.http, "/hello", 2)
        one.stop()
        load(other.http, "/hello", 3)
        watching.wait_for_spans(5)
        assert watching.process.poll() is None
        other.process.kill()
        done = watching.finish()
    assert done.code == 0
    assert len(done.spans) == 5


# In flight


def test_what_is_in_flight_at_attach_or_detach_is_counted_and_not_invented(server: Server) -> None:
    """/slow answers after a minute, or at once when its client goes away."""
    early, late = connection(server), connection(server)
    with early, late:
        early.sendall(request_bytes("/slow?ms=60000"))
        eventually(lambda: handled(server, "/slow")["begun"] == 1, "the early request")
        with started("attach", str(server.pid), "--to", "json") as watching:
            watching.attached()
            early.close()
            eventually(lambda: handled(server, "/slow")["finished"] == 1, "the early request's end")
            late.sendall(request_bytes("/slow?ms=60000"))
            eventually(lambda: handled(server, "/slow")["begun"] == 2, "the late request")
            done = watching.finish(signal.SIGINT)
    assert [span.name for span in done.spans if "/slow" in span.name] == []
    assert "1 in flight at the attach, 1 at the detach" in done.err
    assert done.summary.dropped == 0


@pytest.mark.parametrize(("header", "status"), [("Transfer-Encoding: x", 501), (f"X: {'x' * (2 << 20)}", 431)])
def test_what_net_http_refuses_by_itself_was_not_in_flight(server: Server, header: str, status: int) -> None:
    with started("attach", str(server.pid), "--to", "json") as watching:
        watching.attached()
        with connection(server) as client, contextlib.suppress(ConnectionError):  # it closes without reading all of it
            client.sendall(f"GET /hello HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
            assert f" {status} ".encode() in client.makefile("rb").readline()
        load(server.http, "/hello", 1)
        watching.wait_for_spans(1)
        done = watching.finish(signal.SIGINT)
    assert len(done.spans) == 1
    assert "in flight" not in done.err


def connection(server: Server) -> socket.socket:
    host, _, port = server.http.rpartition(":")
    return socket.create_connection((host, int(port)))


def handled(server: Server, route: str) -> dict[str, int]:
    """How many requests of the route have begun and finished, as the server itself counts."""
    with urllib.request.urlopen(server.url("/debug/counts")) as answer:
        counts: dict[str, dict[str, int]] = json.load(answer)
    return counts.get(route, {"begun": 0, "finished": 0})


# The terminal, when it is a pipe


def test_without_to_each_span_is_a_line_of_words(server: Server) -> None:
    with started("attach", str(server.pid)) as watching:
        watching.attached()
        load(server.http, ["/hello", "/status?code=503"], 4, connections=1)
        eventually(lambda: watching.out.count(b"\n") >= 4, "four lines")
        done = watching.finish(signal.SIGINT)
    lines = done.out.decode().splitlines()
    assert len([line for line in lines if "/hello" in line and "200" in line]) == 2
    assert len([line for line in lines if "/status" in line and "503" in line]) == 2
    assert "\x1b" not in done.out.decode()
    assert done.summary.errors == 2


def test_lines_of_several_processes_are_in_the_order_of_time_and_name_their_process(
    httpserver: Path, server: Server
) -> None:
    with serving(httpserver) as other, started("attach", str(server.pid), str(other.pid)) as watching:
        watching.attached()
        for _ in range(10):
            load(server.http, "/hello", 1)
            load(other.http, "/hello", 1)
        eventually(lambda: watching.out.count(b"\n") >= 20, "twenty lines")
        done = watching.finish(signal.SIGINT)
    lines = done.out.decode().splitlines()
    pids = [line.partition("process.pid=")[2].split()[0] for line in lines]
    assert sorted(pids) == sorted([str(server.pid), str(other.pid)] * 10)
    # Not by the calls: an answer arrives before its operation ends, so on a busy machine the next one may end earlier.
    ends = [line.partition(" ")[0] for line in lines]
    assert ends == sorted(ends), "in the order of time, though each process has its batches"
    assert all(" service.name=httpserver " in line for line in lines)
