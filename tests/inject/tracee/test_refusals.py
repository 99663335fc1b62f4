"""Processes that cannot be stopped: each is left as it was, and the error says what, why and what to do."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gobuild
import sandbox
from gotap.inject import tracee
from gotap.inject.tracee import refusals
from gotap.inject.tracee.errors import (
    AlreadyTraced,
    CallUnfinished,
    CannotTrace,
    Frozen,
    NotStopping,
    WrongArchitecture,
)
from gotap.process.privileges import Denial, Status, explain_denial
from processes import eventually, python, running
from waiting_threads import waiting

MMAP = tracee.mmap(0, 4096, tracee.PROT_READ, tracee.MAP_PRIVATE | tracee.MAP_ANONYMOUS)
SOURCES = str(Path(tracee.__file__).parents[3])


def stop(pid: int) -> None:
    with tracee.stopped(pid, limit=0.5):
        pass


def call(pid: int) -> None:
    tracee.call(pid, [MMAP], limit=0.5)


EITHER = pytest.mark.parametrize("act", [stop, call])

TRACER = """
import sys
from gotap.inject import tracee
with tracee.stopped(int(sys.argv[1])):
    print(flush=True)
    sys.stdin.readline()
"""


@EITHER
def test_another_tracer_is_named(act: Callable[[int], None]) -> None:
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    with waiting() as program:
        with python(TRACER, str(program.pid), env=environment) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            other.stdout.readline()
            name = Path(f"/proc/{other.pid}/comm").read_text().strip()
            with pytest.raises(AlreadyTraced, match=rf"traced by {name} \(pid {other.pid}\)"):
                act(program.pid)
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.wait() == 0
        act(program.pid)
        program.goes_on()


#: What an unprivileged user sees: stops and calls the process, or says why not.
UNPRIVILEGED = """
import sys
from gotap.errors import GotapError
from gotap.inject import tracee
for act in (lambda pid: tracee.stopped(pid).__enter__(), lambda pid: tracee.call(pid, [tracee.munmap(4096, 4096)])):
    try:
        act(int(sys.argv[1]))
    except GotapError as error:
        print(type(error).__name__, error)
    else:
        print("done")
        sys.exit()
"""


def as_nobody(pid: int) -> str:
    done = subprocess.run(
        [*sandbox.NOBODY, sys.executable, "-c", UNPRIVILEGED, str(pid)],
        env={**os.environ, "PYTHONPATH": SOURCES}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.root
def test_the_same_user_needs_no_privilege() -> None:
    with running(*sandbox.NOBODY[:4], "--bounding-set=-all", "--inh-caps=-all", "sleep", "60") as child:
        eventually(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n", "the program")
        assert as_nobody(child.pid) == "done\n"
        assert child.poll() is None


@pytest.mark.root
def test_another_users_process_is_refused() -> None:
    with running("sleep", "60") as child:
        told = as_nobody(child.pid)
        assert told.count("CannotTrace") == 2
        assert "it runs as uid 0 gid 0, gotap as uid 65534 gid 65534 without CAP_SYS_PTRACE" in told


@pytest.mark.root
def test_one_that_is_not_dumpable_is_refused() -> None:
    code = "import ctypes, os, sys\nos.setgroups([])\nos.setresgid(*[65534] * 3)\nos.setresuid(*[65534] * 3)\n"
    code += "ctypes.CDLL(None).prctl(4, 0)\nprint(flush=True)\nsys.stdin.readline()"
    with python(code) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert "it is not dumpable" in as_nobody(child.pid)


@pytest.mark.parametrize(("scope", "remedy"), [(1, "gotap run"), (2, "CAP_SYS_PTRACE"), (3, "below 3")])
def test_what_yama_forbids_is_said_with_what_helps(scope: int, remedy: str) -> None:
    status = Status((1000,) * 4, (1000,) * 4, 0, 0, 0, (7,))
    denial = Denial(
        own=status, theirs=status, dumpable=True, scope=scope, is_descendant=False, same_user_namespace=True,
        label=None, error="Operation not permitted",
    )  # fmt: skip
    why = explain_denial(denial)
    assert f"ptrace_scope is {scope}" in why
    assert remedy in refusals._remedy(why)


def test_gotap_itself() -> None:
    with pytest.raises(CannotTrace, match="it is gotap itself"):
        stop(os.getpid())


@pytest.mark.root
def test_gotap_under_a_filter_that_forbids_ptrace() -> None:
    code = UNPRIVILEGED
    with running("sleep", "60") as child:
        done = subprocess.run(
            [*sandbox.refusing(sandbox.PTRACE, 1), sys.executable, "-c", code, str(child.pid)],
            env={**os.environ, "PYTHONPATH": SOURCES}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.count("gotap itself runs under a seccomp filter") == 2, done.stderr


@EITHER
def test_a_32_bit_program(act: Callable[[int], None]) -> None:
    built = gobuild.build("httpserver", goarch="386")
    try:
        process = subprocess.Popen([str(built), "127.0.0.1:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error}")
    try:
        with pytest.raises(WrongArchitecture, match="not for 64-bit x86"):
            act(process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def cgroup(root: str, switch: str) -> Iterator[tuple[Path, Path]]:
    """A cgroup of its own and the file that freezes it; thawed and removed at the end."""
    try:
        directory = Path(tempfile.mkdtemp(prefix="gotap-test-", dir=root))
    except OSError as error:
        pytest.skip(f"no cgroup can be made in {root}: {error}")
    try:
        if not (directory / switch).exists():
            pytest.skip(f"{root} has no {switch}")
        yield directory, directory / switch
    finally:
        (directory / switch).exists() and (directory / switch).write_text("0" if "freeze" in switch[-6:] else "THAWED")
        eventually(lambda: not (directory / "cgroup.procs").read_text(), "the end of its processes")
        directory.rmdir()


FREEZERS = [
    ("/sys/fs/cgroup/unified" if os.path.exists("/sys/fs/cgroup/unified") else "/sys/fs/cgroup", "cgroup.freeze", "1"),
    ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),
]


@pytest.mark.root
@EITHER
@pytest.mark.parametrize(("root", "switch", "word"), FREEZERS)
def test_a_frozen_one_is_told_and_how_to_thaw_it(root: str, switch: str, word: str, act: Callable[[int], None]) -> None:
    with cgroup(root, switch) as (directory, file), waiting() as program:
        (directory / "cgroup.procs").write_text(str(program.pid))
        file.write_text(word)
        if switch == "cgroup.freeze":
            eventually(lambda: "frozen 1" in (directory / "cgroup.events").read_text(), "the freeze")
        else:
            eventually(lambda: file.read_text() == "FROZEN\n", "the freeze")
        with pytest.raises(Frozen, match=directory.name) as caught:
            act(program.pid)
        assert str(file) in caught.value.remedy
        file.write_text("0" if word == "1" else "THAWED")
        act(program.pid)
        program.goes_on()


VFORK = """
#include <unistd.h>
#include <stdio.h>
int main(void) {
    puts("ready"); fflush(stdout);
    if (vfork() == 0) { char byte; read(0, &byte, 1); _exit(0); }
    puts("on"); fflush(stdout);
    return pause();
}
"""


@pytest.mark.parametrize("act", [stop])
def test_a_thread_that_nothing_wakes_is_not_touched(act: Callable[[int], None], tmp_path: Path) -> None:
    """The parent of a child of vfork sleeps until that executes a program or ends."""
    if shutil.which("gcc") is None:
        raise gobuild.MissingTool("gcc is not installed (Debian package gcc)")
    (tmp_path / "vfork.c").write_text(VFORK)
    subprocess.run(["gcc", "-w", "-o", str(tmp_path / "vfork"), str(tmp_path / "vfork.c")], check=True)
    with running(str(tmp_path / "vfork")) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        eventually(lambda: ") D " in Path(f"/proc/{child.pid}/stat").read_text(), "the sleep")
        with pytest.raises(NotStopping, match="sleeps in the kernel"):
            act(child.pid)
        assert "TracerPid:\t0" in Path(f"/proc/{child.pid}/status").read_text()
        child.stdin.write("x")
        child.stdin.flush()
        assert child.stdout.readline() == "on\n"
        act(child.pid)


def test_a_thread_without_a_cpu_is_not_said_to_sleep() -> None:
    error = refusals.not_stopping(os.getpid(), [threading.get_native_id()])
    assert "gets no CPU" in str(error)
    assert "cpu.max" in error.remedy


def test_a_call_that_does_not_return_is_interrupted() -> None:
    with waiting() as program:
        with tracee.calling(program.pid) as caller, pytest.raises(CallUnfinished, match="did not come back from pause"):
            caller(tracee.Syscall(34, (), "pause"))
        program.goes_on()
        os.kill(program.pid, signal.SIGCONT)


def test_refusals_leave_no_timer_and_no_descriptor() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with waiting() as program:
        inside = len(os.listdir("/proc/self/fd")) - len(before)
        for _ in range(3):
            call(program.pid)
            stop(program.pid)
            with contextlib.suppress(tracee.TraceeError):
                tracee.call(program.pid, [tracee.close(999)])
        assert len(os.listdir("/proc/self/fd")) == len(before) + inside
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert Path("/proc/self/timers").read_text() == ""
