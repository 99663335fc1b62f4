"""--via as a user types it: each mechanism sees the same, leaves nothing, and says what it did; gotap detach."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from cli import clean_environment, gotap, measured, started
from goservers import Server, serving
from gotap.commands.mechanisms import Machines, UncheckedGo
from gotap.image.image import Image
from gotap.probe.binding import Binding
from httpload import load
from kernel_access import needs_bpf
from sandbox import NOBODY
from torture_mechanisms import Memory, patches
from watching import watching

pytestmark = [pytest.mark.root, needs_bpf]

MECHANISMS = ("uprobe", "springboard", "hook")
PATCHED = pytest.mark.parametrize("mechanism", ["springboard", "hook"])


@pytest.fixture
def own(httpserver: Path) -> Iterator[Server]:
    """A server that nobody else observes."""
    with serving(httpserver) as one:
        yield one


@pytest.mark.parametrize("mechanism", [*MECHANISMS, "auto"])
def test_each_sees_every_request_and_leaves_the_program_as_it_was(own: Server, mechanism: str) -> None:
    before = Memory.of(own.pid)
    with started("attach", str(own.pid), "--via", mechanism, "--to", "json") as watching:
        watching.attached()
        kind = "int3" if mechanism == "uprobe" else "jump"
        assert patches(before, Memory.of(own.pid))[kind] > 5
        counts = load(own.http, ["/hello", "/status?code=500", "/users/7"], 90)
        watching.wait_for_spans(90)
        done = watching.finish(signal.SIGINT)
    assert done.code == 0
    assert counts.answered == 90
    names = [span.name for span in done.spans]
    assert {name: names.count(name) for name in names} == {"GET /hello": 30, "GET /status": 30, "GET /users/{id}": 30}
    assert all(span.end_time_unix_nano > span.start_time_unix_nano for span in done.spans)
    assert measured(done.out, "http.server.request.duration") == 90
    assert (done.summary.spans, done.summary.errors, done.summary.dropped) == (90, 30, 0)
    after = Memory.of(own.pid)
    assert before.differences(after) == []
    assert not {one for one in after.ours if "memfd" in one}, done.err
    load(own.http, "/hello", 3)


def test_auto_says_what_it_took_and_why_not_a_cheaper_one(own: Server) -> None:
    with started("attach", str(own.pid), "--via", "auto", "--to", "json") as watching:
        watching.attached()
        watching.wait_for(f"{own.pid} by hook")
        watching.finish(signal.SIGINT)
    with subprocess.Popen([sys.executable, "-c", _TRACER, str(own.pid)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as tracer:  # fmt: skip
        assert tracer.stdout is not None
        assert tracer.stdin is not None
        tracer.stdout.readline()
        with started("attach", str(own.pid), "--via", "auto", "--to", "json") as watching:
            watching.attached()
            watching.wait_for(f"{own.pid} by uprobe; not by hook: process {own.pid} is traced by ")
            assert "not by springboard: " in watching.err
        refused = gotap("attach", str(own.pid), "--via", "hook", "--to", "json")
        tracer.stdin.close()
    assert refused.code == 1
    assert "there can be only one tracer" in refused.err
    load(own.http, "/hello", 3)


_TRACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for thread in os.listdir(f"/proc/{sys.argv[1]}/task"):
    assert libc.ptrace(0x4206, int(thread), None, None) == 0  # PTRACE_SEIZE
print("traced", flush=True)
sys.stdin.read()
"""


def test_a_hook_needs_no_right_but_that_over_ones_own_process(httpserver: Path, tmp_path: Path) -> None:
    with started("run", "--via", "hook", "--duration", "5s", "--to", str(tmp_path / "x.jsonl"), "--", "/bin/true"):
        pass  # a launcher that is no Go program is no error here either
    executable = tmp_path / "server"
    executable.write_bytes(httpserver.read_bytes())
    executable.chmod(0o755)
    os.chmod(tmp_path, 0o755)
    with serving(executable, prefix=NOBODY) as server:
        refused = gotap("attach", str(server.pid), "--to", "json", prefix=NOBODY)
        assert refused.code == 1, "uprobes are not for nobody"
        with started("attach", str(server.pid), "--via", "hook", "--to", "json", prefix=NOBODY) as watching:
            watching.attached()
            load(server.http, "/hello", 20)
            watching.wait_for_spans(20)
            done = watching.finish(signal.SIGINT)
    assert (done.summary.spans, done.summary.dropped) == (20, 0)


@PATCHED
def test_from_the_first_instruction(httpserver: Path, mechanism: str, tmp_path: Path) -> None:
    with started("trace", "-c", f"{httpserver}", "--via", mechanism, "--duration", "1s",
                 "main.main:entry { print(\"begun\") }") as tracing:  # fmt: skip
        done = tracing.finish()
    assert b"begun" in done.out


@PATCHED
def test_what_a_killed_gotap_left_is_taken_out(own: Server, mechanism: str) -> None:
    before = Memory.of(own.pid)
    with started("attach", str(own.pid), "--via", mechanism, "--to", "json") as watching:
        watching.attached()
        watching.process.kill()
        watching.process.wait()
    left = patches(before, Memory.of(own.pid))["jump"]
    assert left > 5
    assert load(own.http, "/hello", 50).answered == 50
    done = gotap("detach", str(own.pid))
    assert (done.code, done.err) == (0, f"gotap: {own.pid}: {left} jumps taken out\n")
    assert before.differences(Memory.of(own.pid)) == []
    assert load(own.http, "/hello", 5).answered == 5
    again = gotap("detach", str(own.pid))
    assert (again.code, again.err) == (0, f"gotap: {own.pid}: nothing of gotap's was in it\n")


@PATCHED
def test_a_jump_that_somebody_else_has_undone_is_told(own: Server, mechanism: str) -> None:
    """As the kernel does when another tool's uprobe goes that stood on the jump: it writes what the file has there."""
    before = Memory.of(own.pid)
    with started("attach", str(own.pid), "--via", mechanism, "--to", "json") as watching:
        watching.attached()
        (start, _), old = next((where, text) for where, text in before.text.items() if patched(text, own.pid, where))
        at = patched(old, own.pid, (start, start + len(old)))[0]
        with Path(f"/proc/{own.pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(start + at)
            memory.write(old[at : at + 16])
        done = watching.finish(signal.SIGINT)
    assert done.code == 0
    assert re.search(r"somebody else had undone (a jump|[\d,]+ jumps) in process", done.err), done.err
    assert f"{start + at:#x}" in done.err
    assert before.differences(Memory.of(own.pid)) == []


def patched(text: bytes, pid: int, where: tuple[int, int]) -> list[int]:
    """Offsets of the bytes that differ from what was there."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(where[0])
        now = memory.read(where[1] - where[0])
    return [at for at, (one, other) in enumerate(zip(text, now, strict=True)) if one != other]


@PATCHED
def test_a_gotap_that_lives_is_asked_to_leave(own: Server, mechanism: str) -> None:
    before = Memory.of(own.pid)
    with started("attach", str(own.pid), "--via", mechanism, "--to", "json") as watching:
        watching.attached()
        load(own.http, "/hello", 7)
        done = gotap("detach", str(own.pid))
        left = watching.finish()
    assert (done.code, done.err) == (0, f"gotap: {own.pid}: the gotap that was attached has left\n")
    assert (left.code, left.summary.spans) == (0, 7), "what it had seen is shown"
    assert before.differences(Memory.of(own.pid)) == []


def test_a_program_that_gotap_has_started_goes_on_when_gotap_is_asked_to_leave(httpserver: Path) -> None:
    with started("trace", "-c", str(httpserver), "--via", "hook", "net/http.(*conn).serve") as tracing:
        tracing.attached()
        pid = int(tracing.err.split("attached to PID ")[1].split()[0])
        try:
            assert gotap("detach", str(pid)).code == 0
            assert tracing.finish().code == 0
            assert os.path.exists(f"/proc/{pid}/exe")
        finally:
            os.kill(pid, signal.SIGKILL)


def test_who_cannot_be_asked_to_leave(own: Server) -> None:
    with started("attach", str(own.pid), "--via", "hook", "--to", "json") as watching:
        watching.attached()
        os.kill(watching.pid, signal.SIGSTOP)
        environment = clean_environment({})
        code = ("import gotap.commands.detach as d; d.PATIENCE = 0.2; from gotap.commands.main import main; "
                f"raise SystemExit(main(['detach', '{own.pid}']))")  # fmt: skip
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        os.kill(watching.pid, signal.SIGCONT)
        assert done.returncode == 1
        assert f"kill -9 {watching.pid} && gotap detach {own.pid}" in done.stderr
        load(own.http, "/hello", 5)
        assert watching.finish().code == 0, "it leaves when it can"


def test_jumps_go_only_into_programs_of_checked_go() -> None:
    image = SimpleNamespace(go_version=SimpleNamespace(major=1, minor=28, text="go1.28"))
    for mechanism in ("springboard", "hook"):
        with pytest.raises(UncheckedGo, match="built by") as told:
            Machines("hook", "watch").of(mechanism, 1, cast(Image, image))
        assert "--force risks" in told.value.remedy
    assert Machines("hook", "watch", force=True)._check(cast(Image, image)) is None  # type: ignore[func-returns-value]


@pytest.fixture
def one_place_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first place of the client's operation takes no jump."""

    def refused(mechanism: str, bound: Binding, image: Image) -> dict[int, str]:
        client = next(one for one in bound.bound if one.operation.name == "http.client")
        return {client.probes[0].sites[0].file_offset: "it is too short"} if mechanism == "hook" else {}

    monkeypatch.setattr("gotap.commands.mechanisms._refused", refused)


@pytest.mark.usefixtures("one_place_refused")
def test_auto_takes_no_hook_that_would_leave_something_out(own: Server) -> None:
    with watching(own.pid, via="auto") as watch:
        (target,) = watch.watched.values()
        assert target.mechanism == "springboard"
        assert target.why[0].startswith("not by hook: net/http.")
        assert target.why[0].endswith("cannot be hooked: it is too short")


@pytest.mark.usefixtures("one_place_refused")
def test_what_a_hook_cannot_reach_is_told_and_the_rest_is_watched(
    own: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    with watching(own.pid, via="hook") as watch:
        load(own.http, "/hello", 5)
        assert len(watch.server()) == 5
    assert re.search(r"httpserver: http.client is not watched: net/http\S+ cannot be hooked", capfd.readouterr().err)
