"""The worst that can happen to gotap, under load: killed, stopped, cycled. The target serves on as it was before."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import Gotap, measured, started, text_is_original
from goservers import Server, serving
from httpload import Counts, load
from kernel_access import needs_bpf
from processes import eventually

pytestmark = [pytest.mark.root, needs_bpf]


class Load:
    """Requests that go on until the block ends; none may fail."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.counts = Counts()
        self.failures: list[Exception] = []
        self._stop = threading.Event()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self.counts.add(load(self.address, ["/hello", "/deep?n=200", "/status?code=204"], 50, connections=2))
        except Exception as failure:
            self.failures.append(failure)

    def more(self, requests: int = 100) -> None:
        """Waits until that many more have been answered."""
        goal = self.counts.answered + requests
        eventually(lambda: self.failures or self.counts.answered >= goal, f"{requests} more answers")

    @contextmanager
    def going_on(self) -> Iterator[Load]:
        worker = threading.Thread(target=self._work)
        worker.start()
        try:
            self.more()
            yield self
            self.more()
        finally:
            self._stop.set()
            worker.join()
        assert self.failures == []
        assert (self.counts.lost, self.counts.unanswered, self.counts.cut) == (0, 0, 0)
        assert set(self.counts.status) == {200, 204}


# Killed


def test_sigkill_under_load_leaves_the_target_serving_and_nothing_attached(server: Server) -> None:
    with Load(server.http).going_on() as traffic:
        for _ in range(3):
            with started("attach", str(server.pid), "--to", "json") as watching:
                watching.attached()
                traffic.more()
                assert not text_is_original(server.pid), "breakpoints are in place"
                watching.finish(signal.SIGKILL)
            eventually(lambda: text_is_original(server.pid), "the original code")
            traffic.more()
    assert trace_of_gotap(server.pid) == []


def trace_of_gotap(pid: int) -> list[str]:
    """Descriptors and tracers that would be left in the process."""
    status = Path(f"/proc/{pid}/status").read_text()
    tracer = re.search(r"^TracerPid:\t(\d+)$", status, re.MULTILINE)
    left = [] if tracer and tracer[1] == "0" else [f"traced: {tracer}"]
    links = [os.readlink(one) for one in Path(f"/proc/{pid}/fd").iterdir()]
    return left + [link for link in links if "bpf" in link or "perf_event" in link]


def test_sigkill_while_attaching(server: Server) -> None:
    """At whatever moment: between the imports, the first program and the last link."""
    with Load(server.http).going_on() as traffic:
        for steps in range(8):
            with started("attach", str(server.pid), "--to", "json") as watching:
                wait_for_descriptors(watching, 5 + 3 * steps)
                watching.finish(signal.SIGKILL)
            traffic.more(20)
    eventually(lambda: text_is_original(server.pid), "the original code")


def wait_for_descriptors(watching: Gotap, count: int) -> None:
    """Waits until gotap holds so many BPF maps, programs and links, or all that it needs."""

    def look() -> bool:
        try:
            links = [os.readlink(one) for one in Path(f"/proc/{watching.pid}/fd").iterdir()]
        except OSError:  # while we look, one is closed
            return False
        return "attached" in watching.err or sum("bpf" in link for link in links) >= count

    eventually(look, f"{count} descriptors of BPF")


def test_sigkill_of_run_leaves_the_program_serving(httpserver: Path) -> None:
    with started("run", "--to", "json", "--", str(httpserver)) as watching:
        watching.attached()
        eventually(lambda: "listening http=" in watching.err, "the server's line")
        address = watching.err.split("listening http=")[1].split()[0]
        pid = int(watching.err.split("attached to PID ")[1].split()[0])
        try:
            with Load(address).going_on() as traffic:
                watching.finish(signal.SIGKILL)
                eventually(lambda: text_is_original(pid), "the original code")
                traffic.more()
        finally:
            os.kill(pid, signal.SIGKILL)


def test_sigkill_while_the_program_is_held_at_its_exec(httpserver: Path, tmp_path: Path) -> None:
    """The program stands in a ptrace stop then; the kernel lets it go when its tracer dies."""
    out = tmp_path / "out"
    for _ in range(3):
        with started("run", "--to", "json", "--", "sh", "-c", f"exec {httpserver} > {out}") as watching:
            eventually(lambda pid=watching.pid: traced_child(pid), "a program in its exec's stop")
            watching.finish(signal.SIGKILL)
            eventually(lambda: out.exists() and "listening" in out.read_text(), "the program's own beginning")
            address = out.read_text().split("http=")[1].split()[0]
            assert load(address, "/hello", 20).status == {200: 20}
        out.unlink()


def traced_child(pid: int) -> int:
    """The child that is in a ptrace stop after its exec (its command is no longer Python), 0 for none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "t" and "python" not in os.readlink(f"/proc/{child}/exe"):
                return child
    except OSError:
        pass
    return 0


# Again and again


@pytest.mark.parametrize("cycles", [12, pytest.param(100, marks=pytest.mark.matrix)])
def test_attach_and_detach_under_load(server: Server, cycles: int) -> None:
    with Load(server.http).going_on() as traffic:
        for _ in range(cycles):
            with started("attach", str(server.pid), "--to", "json", "--count", "20") as watching:
                done = watching.finish()
            assert done.code == 0
            assert len(done.spans) == 20
            assert done.summary.dropped == 0, "what begins while gotap detaches is no loss"
        traffic.more()
    assert text_is_original(server.pid)


# Overflow


def test_a_ring_that_overflows_is_counted_and_shown(httpserver: Path) -> None:
    """gotap stands still (SIGSTOP) while more comes than its ring can hold."""
    with serving(httpserver) as server, started("attach", str(server.pid), "--to", "json") as watching:
        watching.attached()
        watching.send(signal.SIGSTOP)
        eventually(lambda: state(watching.pid) == "T", "gotap to stand still")
        counts = load(server.http, "/hello/" + "p" * 500, 12_000, connections=4, pipeline=50)
        watching.send(signal.SIGCONT)
        done = watching.finish(signal.SIGINT)
    assert counts.answered == 12_000
    assert done.code == 0
    lost = done.summary.causes["ring full"]
    assert lost > 0
    assert done.summary.spans + lost == 12_000
    assert len(done.spans) == measured(done.out, "http.server.request.duration") == done.summary.spans


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


# Targets that end


def test_a_target_that_is_killed_under_load(httpserver: Path) -> None:
    with serving(httpserver) as server, started("attach", str(server.pid), "--to", "json") as watching:
        watching.attached()
        load(server.http, "/hello", 100)
        server.process.kill()  # perhaps between the last answer and the end of its request
        done = watching.finish()
    assert done.code == 0
    left = re.search(r"(\d+) at the detach", done.err)
    assert len(done.spans) + (int(left[1]) if left else 0) == 100


def test_a_target_that_ends_while_gotap_attaches(httpserver: Path) -> None:
    for steps in range(5):
        with serving(httpserver) as server, started("attach", str(server.pid), "--to", "json") as watching:
            wait_for_descriptors(watching, 5 + 4 * steps)
            server.process.kill()
            done = watching.finish()
        assert done.code in (0, 1)
        if "attached to PID" not in done.err:
            assert done.code == 1
            assert f"process {server.pid} is gone" in done.err
