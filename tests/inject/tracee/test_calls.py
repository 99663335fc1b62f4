from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tracee_deaths
from gotap.inject import tracee
from gotap.inject.tracee import target as target_module
from gotap.inject.tracee.errors import CallFailed
from gotap.process.proc import Process
from waiting_threads import WAITS, Waiting, waiting

PAGES = 8192


def chain() -> list[tracee.Syscall]:
    """What a region takes: a file, its size, a mapping; and back."""
    file = tracee.Result(0)
    mapping = tracee.mmap(0, PAGES, tracee.PROT_READ | tracee.PROT_WRITE, tracee.MAP_SHARED, file)
    return [tracee.memfd_create("gotap-test"), tracee.ftruncate(file, PAGES), mapping, tracee.close(file)]


def named(pid: int) -> list[str]:
    with Process(pid) as process:
        return [mapping.path for mapping in process.mappings() if "memfd:gotap-test" in mapping.path]


def choose(monkeypatch: pytest.MonkeyPatch, thread: int) -> None:
    monkeypatch.setattr(target_module, "_by_idleness", lambda _: iter([thread]))


@pytest.mark.parametrize("name", WAITS)
def test_the_thread_that_calls_goes_on_as_if_nothing_had_been(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with waiting() as program:
        choose(monkeypatch, program.thread(name))
        for count in range(1, 21):
            tracee.call(program.pid, chain())
            assert len(named(program.pid)) == count
        program.goes_on()


def masks(program: Waiting) -> dict[str, str]:
    """Blocked signals by thread; those of sigsuspend and ppoll come and go."""
    found = {}
    for name in WAITS:
        if name not in ("suspend", "ppoll"):
            status = Path(f"/proc/{program.pid}/task/{program.thread(name)}/status").read_text()
            found[name] = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return found


@pytest.mark.parametrize("name", [
    name if name in ("spin", "sleep", "suspend") else pytest.param(name, marks=pytest.mark.matrix) for name in WAITS
])  # fmt: skip
def test_gotap_killed_at_any_step_of_a_call(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with waiting() as program:
        choose(monkeypatch, program.thread(name))
        before = masks(program)

        def check() -> None:
            program.goes_on((name,))
            assert "TracerPid:\t0" in Path(f"/proc/{program.pid}/status").read_text()

        steps = tracee_deaths.at_every_step(lambda: tracee.call(program.pid, chain()), check)
        assert steps > 20
        program.goes_on()
        assert masks(program) == before


def test_a_call_that_fails_names_itself_and_its_error() -> None:
    with waiting() as program, pytest.raises(CallFailed, match="mmap for gotap: Bad file descriptor") as caught:
        tracee.call(program.pid, [tracee.mmap(0, PAGES, tracee.PROT_READ, tracee.MAP_SHARED, 999)])
    assert (caught.value.number, caught.value.index) == (errno.EBADF, 0)


def test_what_a_call_answers_is_used_between_calls() -> None:
    with waiting() as program:
        with tracee.calling(program.pid) as caller:
            descriptor = caller(tracee.memfd_create("gotap-test"))
            os.truncate(f"/proc/{program.pid}/fd/{descriptor}", PAGES)
            address = caller(tracee.mmap(0, PAGES, tracee.PROT_READ, tracee.MAP_SHARED, descriptor))
            caller(tracee.munmap(address, PAGES))
            caller(tracee.close(descriptor))
            with pytest.raises(CallFailed):
                caller(tracee.close(descriptor))
        assert named(program.pid) == []
        program.goes_on()


def test_the_environment_says_at_which_step_gotap_dies() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tracee.__file__).parents[3])}
    code = "import sys\nfrom gotap.inject import tracee\ntracee.call(int(sys.argv[1]), [tracee.munmap(4096, 4096)])"
    with waiting() as program:
        for step, ends in ((7, -signal.SIGKILL), (10_000, 0)):
            command = [sys.executable, "-c", code, str(program.pid)]
            done = subprocess.run(command, env={**environment, "GOTAP_TEST_DIE_AT": str(step)})
            assert done.returncode == ends
            program.goes_on()


def test_within_a_stop_the_process_can_be_called_too() -> None:
    with waiting() as program:
        with tracee.stopped(program.pid) as target:
            before = dict(target.threads)
            tracee.call(program.pid, chain())
            with tracee.stopped(program.pid) as again:
                assert again.threads == before
            assert Path(f"/proc/{program.pid}/stat").read_text().rpartition(") ")[2][0] == "t"
        program.goes_on()
