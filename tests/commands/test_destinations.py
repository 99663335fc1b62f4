"""--to: stdout, files, several at once; readers that go away, files that cannot be written, disks that are full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import gotap, measured, metrics_in, spans_in, started, text_is_original, traces_in, whole_lines
from goservers import Server
from httpload import load
from kernel_access import needs_bpf
from processes import eventually

pytestmark = [pytest.mark.root, needs_bpf]


def test_json_is_one_otlp_object_a_line_and_nothing_else(server: Server) -> None:
    with started("attach", str(server.pid), "--to", "json", "--count", "40") as watching:
        watching.attached()
        load(server.http, ["/hello", "/status?code=404"], 40)
        done = watching.finish()
    assert done.out.endswith(b"\n")
    lines = whole_lines(done.out)
    assert {next(iter(json.loads(line))) for line in lines} == {"resourceSpans", "resourceMetrics"}
    assert len(traces_in(done.out)) + len(metrics_in(done.out)) == len(lines)
    spans = done.spans
    assert len({span.span_id for span in spans}) == 40
    assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans)
    assert all(0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9 for span in spans)


def test_several_destinations_get_the_same(server: Server, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    arguments = ["--to", "json", "--to", str(first), "--to", str(second), "--to", str(first)]
    with started("attach", str(server.pid), *arguments, "--count", "5") as watching:
        watching.attached()
        load(server.http, "/hello", 5)
        done = watching.finish()
    assert done.code == 0
    assert len(spans_in(first.read_bytes())) == 5, "a destination named twice is one"
    assert first.read_bytes() == second.read_bytes()
    assert done.out == first.read_bytes()


def test_lines_on_stdout_go_with_a_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    with started("attach", str(server.pid), "--to", "terminal", "--to", str(file), "--count", "5") as watching:
        watching.attached()
        load(server.http, "/hello", 5)
        done = watching.finish()
    assert len(spans_in(file.read_bytes())) == 5
    assert len([line for line in whole_lines(done.out) if b"/hello" in line]) == 5


def test_to_replaces_the_terminal(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    with started("attach", str(server.pid), "--to", str(file), "--count", "2") as watching:
        watching.attached()
        load(server.http, "/hello", 2)
        done = watching.finish()
    assert done.out == b""
    assert len(spans_in(file.read_bytes())) == 2


def test_a_file_is_appended_to(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    for number in (1, 2):
        with started("attach", str(server.pid), "--to", str(file), "--count", "3") as watching:
            watching.attached()
            load(server.http, "/hello", 3)
            watching.finish()
        assert len(spans_in(file.read_bytes())) == 3 * number


def test_a_file_that_cannot_be_opened_ends_it_before_anything_is_touched(server: Server, tmp_path: Path) -> None:
    done = gotap("attach", str(server.pid), "--to", str(tmp_path / "nowhere" / "spans.jsonl"))
    assert done.code == 1
    assert "nowhere/spans.jsonl" in done.err
    assert "No such file or directory" in done.err
    assert "give --to another file" in done.err
    assert "attached" not in done.err


def test_run_does_not_start_the_program_when_the_file_cannot_be_opened(tmp_path: Path) -> None:
    witness = tmp_path / "began"
    done = gotap("run", "--to", str(tmp_path), "--to", f"{tmp_path}/.jsonl/x.jsonl", "--", "touch", str(witness))
    assert done.code in (1, 2)
    assert not witness.exists()


# Readers that go away


@pytest.mark.parametrize("destination", ["json", "terminal"])
def test_a_reader_that_goes_away_ends_it_as_the_only_destination(server: Server, destination: str) -> None:
    read, write = os.pipe()
    with started("attach", str(server.pid), "--to", destination, stdout=write) as watching:
        os.close(write)
        watching.attached()
        load(server.http, "/hello", 1)
        assert os.read(read, 1 << 20)
        os.close(read)
        for _ in range(3):  # the write that finds the pipe closed
            load(server.http, "/hello", 1)
        done = watching.finish()
    assert done.code == 1
    assert "closed by its reader" in done.err
    assert done.summary.spans >= 2
    if destination == "json":
        assert done.summary.causes["not written"] >= 1


def test_other_destinations_go_on_when_the_reader_goes_away(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    read, write = os.pipe()
    arguments = ["--to", "json", "--to", str(file), "--count", "6"]
    with started("attach", str(server.pid), *arguments, stdout=write) as watching:
        os.close(write)
        os.close(read)
        watching.attached()
        load(server.http, "/hello", 1)
        watching.wait_for("closed by its reader")
        load(server.http, "/hello", 5)
        done = watching.finish()
    assert done.code == 0
    assert len(spans_in(file.read_bytes())) == 6


def test_head_takes_its_line_and_the_program_runs_on(httpserver: Path) -> None:
    """`gotap run --to json -- server | head -1`: nobody listens any more, which is no reason to end the server."""
    read, write = os.pipe()
    with started("run", "--to", "json", "--", str(httpserver), stdout=write) as watching:
        os.close(write)
        address = address_on_stderr(watching.attached())
        load(address, "/hello", 1)
        assert os.read(read, 1 << 20).startswith(b'{"resourceSpans"')
        os.close(read)
        load(address, "/hello", 1)
        watching.wait_for("closed by its reader")
        assert load(address, "/hello", 20).status == {200: 20}
        done = watching.finish(signal.SIGTERM)
    assert done.code == 0, "the server's own"
    assert "counts {" in done.err, "the server was told to end, and gotap waited for it"


def address_on_stderr(watching: object) -> str:
    """The plaintext address that tests/programs/httpserver prints, which `run --to json` puts on stderr."""
    eventually(lambda: "listening http=" in watching.err, "the server's line")  # type: ignore[attr-defined]
    line = next(line for line in watching.err.splitlines() if "listening http=" in line)  # type: ignore[attr-defined]
    return str(line.split("http=")[1].split()[0])


def test_stdout_closed_from_the_start(server: Server) -> None:
    """`>&-`: descriptor 1 does not exist, and must not come to mean something else that gotap opens."""
    with started("attach", str(server.pid), "--to", "json", prefix=["sh", "-c", 'exec "$@" >&-', "sh"]) as watching:
        watching.attached()
        load(server.http, "/hello", 2)
        done = watching.finish()
    assert done.code == 1
    assert "stdout" in done.err


@pytest.mark.parametrize("destination", ["json", "terminal"])
def test_a_reader_that_does_not_read_does_not_keep_gotap_from_leaving(server: Server, destination: str) -> None:
    read, write = os.pipe()
    with started("attach", str(server.pid), "--to", destination, stdout=write) as watching:
        os.close(write)
        watching.attached()
        assert load(server.http, "/hello", 1000).status == {200: 1000}, "more than a pipe holds"
        done = watching.finish(signal.SIGTERM)
    os.close(read)
    assert done.code == 1
    assert "its reader does not read" in done.err
    assert done.summary.causes["not written"] > 0
    assert text_is_original(server.pid)


def test_what_one_destination_loses_is_counted_beside_another_that_loses_nothing(
    server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "spans.jsonl"
    with open("/dev/full", "wb") as full:
        arguments = ("--to", "json", "--to", str(file), "--count", "5")
        with started("attach", str(server.pid), *arguments, stdout=full.fileno()) as watching:
            watching.attached()
            load(server.http, "/hello", 5)
            done = watching.finish()
    assert done.code == 0
    assert len(spans_in(file.read_bytes())) == 5
    assert done.summary.causes == {"not written": 5}


# No room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mounted)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_full_disk_is_told_counted_and_leaves_whole_lines(server: Server, small_disk: Path) -> None:
    file = small_disk / "spans.jsonl"
    with started("attach", str(server.pid), "--to", str(file)) as watching:
        watching.attached()
        load(server.http, "/hello", 10)
        eventually(lambda: len(spans_in(file.read_bytes())) == 10, "the first spans in the file")
        counts = load(server.http, "/hello", 400, connections=1)
        done = watching.finish(signal.SIGINT if watching.process.poll() is None else None)
    assert counts.answered == 400
    assert done.code == 1
    assert "no room left to write" in done.err
    assert "free some room" in done.err
    written = file.read_bytes()
    assert written.endswith(b"\n")
    kept = len(spans_in(written))
    assert done.summary.causes["not written"] == done.summary.spans - kept > 0


def test_room_that_comes_back_loses_nothing(server: Server, small_disk: Path, tmp_path: Path) -> None:
    file, ballast = small_disk / "spans.jsonl", small_disk / "ballast"
    ballast.write_bytes(bytes(60 << 10))
    with started("attach", str(server.pid), "--to", str(file), "--to", "json", "--count", "60") as watching:
        watching.attached()
        load(server.http, "/hello", 59, connections=1)
        watching.wait_for("no room left to write")
        ballast.unlink()
        load(server.http, "/hello", 1)
        done = watching.finish()
    assert done.code == 0
    assert done.summary.dropped == 0
    assert len(spans_in(file.read_bytes())) == len(done.spans) == 60


def test_dev_full(server: Server) -> None:
    with (
        open("/dev/full", "wb") as full,
        started("attach", str(server.pid), "--to", "json", stdout=full.fileno()) as watching,
    ):
        watching.attached()
        load(server.http, "/hello", 3)
        done = watching.finish()
    assert done.code == 1
    assert "no room left to write stdout" in done.err
    assert done.summary.causes == {"not written": done.summary.spans}


def test_metrics_come_at_the_interval_and_at_the_end(server: Server) -> None:
    environment = {"OTEL_METRIC_EXPORT_INTERVAL": "150"}
    with started("attach", str(server.pid), "--to", "json", environment=environment) as watching:
        watching.attached()
        load(server.http, "/hello", 4)
        eventually(lambda: len(metrics_in(watching.out)) >= 2, "two collections")
        load(server.http, "/hello", 3)
        done = watching.finish(signal.SIGINT)
    assert measured(done.out, "http.server.request.duration") == 7
