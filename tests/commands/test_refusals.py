"""Hosts that do not allow it, and targets that are none: what is told, why, and what to do about it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from cli import ATTACHED, Finished, attributes, gotap, started, text_is_original
from goservers import Server, serving
from httpload import load
from kernel_access import needs_bpf
from processes import eventually, running
from sandbox import BPF, LINK_CREATE, NOBODY, PERF_EVENT_OPEN, POWERLESS_ROOT, PTRACE, refusing

pytestmark = [pytest.mark.root, needs_bpf]


def refused(done: Finished) -> str:
    """What was told: a message and a remedy, and nothing else; nothing was attached."""
    assert done.code == 1
    assert done.out == b""
    assert ATTACHED not in done.err
    lines = done.err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("gotap: ") for line in lines)
    return done.err


# The host


@pytest.mark.parametrize("prefix", [POWERLESS_ROOT, NOBODY], ids=["root", "nobody"])
def test_without_capabilities(server: Server, prefix: tuple[str, ...]) -> None:
    told = refused(gotap("attach", str(server.pid), prefix=prefix))
    assert "this host does not let gotap watch: " in told
    assert "CAP_BPF" in told
    way = "run gotap as root: sudo " if prefix is NOBODY else "this root lacks CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE"
    assert way in told


def test_run_does_not_start_what_it_cannot_watch(tmp_path: Path) -> None:
    witness = tmp_path / "began"
    refused(gotap("run", "--", "touch", str(witness), prefix=POWERLESS_ROOT))
    assert not witness.exists()


@pytest.mark.parametrize("missing", ["perfmon", "bpf"])
def test_one_capability_missing(server: Server, missing: str) -> None:
    kept = {"bpf", "perfmon", "sys_ptrace", "dac_override"} - {missing}
    names = "".join(f",+{one}" for one in sorted(kept))
    prefix = ("setpriv", f"--bounding-set=-all{names}", f"--inh-caps=-all{names}")
    told = refused(gotap("attach", str(server.pid), prefix=prefix))
    assert f"CAP_{missing.upper()}" in told


def test_bpf_perfmon_and_sys_ptrace_are_enough(server: Server) -> None:
    names = ",+bpf,+perfmon,+sys_ptrace"
    prefix = ("setpriv", f"--bounding-set=-all{names}", f"--inh-caps=-all{names}")
    with started("attach", str(server.pid), "--to", "json", "--count", "2", prefix=prefix) as watching:
        watching.attached()
        load(server.http, "/hello", 2)
        assert len(watching.finish().spans) == 2


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_no_bpf(server: Server, number: int) -> None:
    """EPERM is what a container's seccomp profile answers, ENOSYS a kernel without it."""
    told = refused(gotap("attach", str(server.pid), prefix=refusing(BPF, number)))
    assert "bpf(2)" in told
    done = gotap("doctor", prefix=refusing(BPF, number))
    assert done.code == 1
    assert "no  bpf(2) system call" in done.out.decode()


def test_no_ptrace_for_run(hello: Path, server: Server) -> None:
    told = refused(gotap("run", "--", str(hello), prefix=refusing(PTRACE, errno.EPERM)))
    assert "cannot be held before its first instruction" in told
    assert "gotap attach" in told
    with started("attach", str(server.pid), prefix=refusing(PTRACE, errno.EPERM)) as watching:
        watching.attached().finish(signal.SIGINT)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EPERM])
def test_neither_links_nor_perf_events(server: Server, number: int) -> None:
    prefix = (*refusing(BPF, number, LINK_CREATE), *refusing(PERF_EVENT_OPEN, number))
    told = refused(gotap("attach", str(server.pid), prefix=prefix))
    assert "uprobes" in told
    assert text_is_original(server.pid)


def test_without_links_perf_events_do_the_same(server: Server) -> None:
    """A kernel before 6.6 has no uprobe_multi, one before 5.15 no link for perf events either."""
    facts = []
    for prefix in ((), refusing(BPF, errno.EINVAL, LINK_CREATE)):
        with started("attach", str(server.pid), "--to", "json", "--count", "30", prefix=prefix) as watching:
            watching.attached()
            load(server.http, ["/hello", "/panic", "/users/7?sig=x"], 30, connections=1)
            done = watching.finish()
        assert done.code == 0
        assert done.summary.dropped == 0
        facts.append([(span.name, attributes(span.attributes), span.status.code) for span in done.spans])
        assert text_is_original(server.pid)
    assert facts[0] == facts[1]
    assert len(facts[0]) == 30


@pytest.mark.parametrize("limits", [["--memlock=0"], ["--nofile=64"]])
def test_small_limits_are_enough(server: Server, limits: list[str]) -> None:
    arguments = ("attach", str(server.pid), "--to", "json", "--count", "1")
    with started(*arguments, prefix=["prlimit", *limits]) as watching:
        watching.attached()
        load(server.http, "/hello", 1)
        assert watching.finish().code == 0


@pytest.mark.parametrize("number", [10, 14, 15, 16, 24, 32, 35, 36, 40])
def test_too_few_descriptors_are_told(server: Server, number: int) -> None:
    arguments = ("attach", str(server.pid), "--to", "json", "--duration", "100ms")
    done = gotap(*arguments, prefix=["prlimit", f"--nofile={number}"])
    assert done.code in (0, 1)
    if done.code:
        assert "ulimit -n" in refused(done)
    assert text_is_original(server.pid)


# Targets


def test_targets_that_are_no_go_programs() -> None:
    with running("sleep", "60") as sleep:
        told = refused(gotap("attach", str(sleep.pid)))
    assert "not a Go program" in told
    assert "name a program built with `go build`" in told


def test_a_go_program_without_net_http(tmp_path: Path) -> None:
    with running(str(idle(tmp_path, "")), stderr=subprocess.PIPE) as program:
        assert program.stderr is not None
        program.stderr.readline()
        told = refused(gotap("attach", str(program.pid)))
    assert "is a Go program without net/http: there is nothing to watch yet" in told


def test_a_go_program_older_than_1_18(tmp_path: Path) -> None:
    with running(str(idle(tmp_path, "1.17.13")), stderr=subprocess.PIPE) as program:
        assert program.stderr is not None
        program.stderr.readline()
        told = refused(gotap("attach", str(program.pid)))
    assert "go1.17.13" in told
    assert "1.18" in told


def idle(directory: Path, go: str) -> Path:
    """A Go program that says so and waits, built by any release."""
    source = 'package main\n\nimport "time"\n\nfunc main() { println("idle"); time.Sleep(time.Hour) }\n'
    (directory / "main.go").write_text(source)
    # A flag that all releases know keeps what `go env -w` set, and old releases refuse, out of the way.
    environment = {**os.environ, "GOTOOLCHAIN": f"go{go}" if go else "local", "GOFLAGS": "-mod=mod"}
    (directory / "go.mod").write_text("module example.com/idle\n")
    command = ["go", "build", "-o", "idle", "main.go"]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return directory / "idle"


def test_kernel_threads_threads_and_the_gone() -> None:
    assert "2 is the kernel thread kthreadd" in refused(gotap("attach", "2"))
    assert "process 4194399999 is gone" in refused(gotap("attach", "4194399999"))
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        told = refused(gotap("attach", str(thread.native_id)))
        assert f"{thread.native_id} is a thread of process {os.getpid()}" in told
    finally:
        stop.set()
        thread.join()


def test_an_ended_process_that_nobody_has_waited_for(httpserver: Path) -> None:
    process = subprocess.Popen([httpserver, "-no-such-flag"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: "Z" in Path(f"/proc/{process.pid}/stat").read_text().split(), "a zombie")
        assert f"process {process.pid} is gone" in refused(gotap("attach", str(process.pid)))
    finally:
        process.wait()


def test_a_target_whose_file_was_deleted_or_replaced(httpserver: Path, tmp_path: Path) -> None:
    executable = Path(shutil.copy(httpserver, tmp_path / "deployed"))
    with serving(executable) as server:
        executable.unlink()
        shutil.copy("/bin/true", executable)
        with started("attach", str(server.pid), "--to", "json", "--count", "2") as watching:
            watching.attached()
            load(server.http, "/hello", 2)
            done = watching.finish()
    assert len(done.spans) == 2


def test_names_that_are_similar_are_offered(server: Server) -> None:
    told = refused(gotap("attach", "httpservr"))
    assert "similar names: " in told
    assert "httpserver" in told


def test_doctor_as_json_without_capabilities() -> None:
    done = gotap("doctor", "--json", prefix=POWERLESS_ROOT)
    assert done.code == 1
    found = json.loads(done.out)
    assert found["watchable"] is False
    missing = [one for one in found["features"] if one["needed"] and not one["ok"]]
    assert all(bool(one["remedy"]) == one["tried"] for one in missing)
    assert missing[0]["remedy"]
