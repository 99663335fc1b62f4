from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

import gobuild
import tracee_deaths
from gotap.inject import tracee
from gotap.inject.tracee.errors import MemoryRefused, ProgramChanged
from gotap.process.errors import NotAProgram, ProcessGone
from gotap.process.launch import Redirect, launch
from gotap.process.proc import Process
from processes import eventually, python, running
from torture_program import torture
from waiting_threads import waiting

MMAP = tracee.mmap(0, 4096, tracee.PROT_READ, tracee.MAP_PRIVATE | tracee.MAP_ANONYMOUS)


def states(pid: int) -> dict[int, str]:
    """Of all threads that have not ended; ended ones vanish."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            found[int(name)] = Path(f"/proc/{pid}/task/{name}/stat").read_text().rpartition(") ")[2][0]
    return found


def is_traced(pid: int) -> bool:
    return any("TracerPid:\t0" not in Path(f"/proc/{pid}/task/{thread}/status").read_text() for thread in states(pid))


def test_every_thread_stands_and_goes_on() -> None:
    with torture(loaded=False, noises=()) as program:
        program.order("threads", 100)
        eventually(lambda: len(states(program.pid)) > 100, "a hundred threads")
        with tracee.stopped(program.pid) as target, Process(program.pid) as process:
            assert len(target.threads) >= 100
            assert target.threads.keys() == states(program.pid).keys()
            assert set(states(program.pid).values()) == {"t"}
            code = [m for m in process.mappings() if m.is_executable]
            assert all(any(m.start <= r.rip < m.end for m in code) for r in target.threads.values())
            assert target.stop_time_ns == 0
        assert target.stop_time_ns > 0
        assert not is_traced(program.pid)
        program.works()


@pytest.mark.parametrize("go", gobuild.every_version())
def test_a_loaded_go_program_is_stopped_and_called_again_and_again(go: str) -> None:
    """Collections never rest, threads are preempted by signals, and come and go: one lost signal would hang it."""
    with torture(go=go) as program:
        for number in range(150):
            with tracee.stopped(program.pid) as target:
                assert target.threads
                if number % 10 == 0:
                    address = target.call([MMAP])[0]
            if number % 10 == 0:
                tracee.call(program.pid, [tracee.munmap(address, 4096), MMAP])
        program.works()


@pytest.mark.parametrize("build", ["PIE, stripped", "external", "musl, static cgo", "-race"])
@pytest.mark.matrix
def test_other_builds(build: str) -> None:
    with torture(build) as program:
        for _ in range(50):
            tracee.call(program.pid, [MMAP])
            with tracee.stopped(program.pid) as target:
                target.call([MMAP])
        program.works()


def test_what_is_written_is_there_also_where_the_process_may_not_write() -> None:
    with torture(loaded=False, noises=()) as program, Process(program.pid) as process:
        text = next(m for m in process.mappings() if m.is_executable)
        with tracee.stopped(program.pid) as target:
            before = target.read(text.start + 3, 21)
            target.write(text.start + 3, bytes(21))
            assert target.read(text.start + 3, 21) == bytes(21)
            target._memory._poke(text.start + 3, before, program.pid)  # the way of kernels that refuse the other
            assert target.read(text.start + 3, 21) == before
            with pytest.raises(MemoryRefused):
                target.read(8, 8)
            with pytest.raises(MemoryRefused):
                target.write(8, b"x")
        program.works()


def test_gotap_killed_at_any_step_of_a_stop() -> None:
    with torture() as program, Process(program.pid) as process:
        text = next(m for m in process.mappings() if m.is_executable)

        def action() -> None:
            with tracee.stopped(program.pid) as target:
                assert target.threads
                target.write(text.start, target.read(text.start, 64))

        def check() -> None:
            assert not is_traced(program.pid)
            assert "t" not in states(program.pid).values()

        assert tracee_deaths.at_every_step(action, check) > 10
        program.works()


def test_gotap_killed_at_any_step_of_a_stop_loses_no_signal_and_ends_no_wait() -> None:
    """Three threads get a thousand signals a second, the next only when the last has been handled."""
    with waiting() as program:

        def action() -> None:
            with tracee.stopped(program.pid) as target:
                assert target.threads

        assert tracee_deaths.at_every_step(action, program.goes_on) > 40
        assert not is_traced(program.pid)


def test_gotap_killed_at_any_step_of_a_call_of_a_loaded_go_program() -> None:
    with torture() as program:
        tracee_deaths.at_every_step(
            lambda: tracee.call(program.pid, [tracee.memfd_create("gotap-test"), tracee.close(tracee.Result(0))]),
            lambda: program.works() if is_traced(program.pid) else None,
        )
        assert not is_traced(program.pid)
        program.works()


def test_how_gotap_runs_is_as_before_afterwards() -> None:
    with waiting() as program:
        with tracee.stopped(program.pid):
            assert not gc.isenabled()
            assert os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_OTHER)  # by its rights
        assert gc.isenabled()
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_an_error_within_lets_go_of_all() -> None:
    with torture() as program:
        with pytest.raises(ZeroDivisionError), tracee.stopped(program.pid):
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), tracee.calling(program.pid) as caller:
            assert caller(MMAP) // 0
        assert not is_traced(program.pid)
        program.works()


def test_programs_started_meanwhile() -> None:
    """fork, vfork and clone while threads are stopped: children are left alone."""
    with torture() as program:
        program.give("spawn", 30)
        for _ in range(60):
            with tracee.stopped(program.pid):
                pass
            tracee.call(program.pid, [MMAP])
        assert program.answer() == "done"
        program.works()


def test_threads_born_and_ended_meanwhile() -> None:
    code = "import threading\nprint(flush=True)\nwhile True: t = threading.Thread(target=int); t.start(); t.join()"
    with python(code) as child:
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(300):
            with tracee.stopped(child.pid) as target:
                assert target.threads.keys() == {t for t, s in states(child.pid).items() if s != "Z"}
            tracee.call(child.pid, [MMAP])
        assert child.poll() is None


def test_exec_meanwhile_is_told_and_the_new_program_runs() -> None:
    """Not with profiling: an interval timer outlives execve, and SIGPROF ends the new program before it has begun."""
    with torture(noises=("garbage", "churn")) as program:
        for _ in range(12):
            program.give("exec")
            assert program.answer() == "execs"
            for _ in range(30):
                with contextlib.suppress(ProgramChanged):
                    with tracee.stopped(program.pid):
                        pass
                    tracee.call(program.pid, [MMAP])
            assert program.process.stdout is not None
            assert program.process.stdout.readline() == "ready\n"
        program.works()
        assert not is_traced(program.pid)


def test_a_stopped_process_stays_stopped() -> None:
    with waiting() as program:
        os.kill(program.pid, signal.SIGSTOP)
        eventually(lambda: set(states(program.pid).values()) == {"T"}, "the stop")
        for _ in range(5):
            with tracee.stopped(program.pid) as target:
                target.call([MMAP])
            tracee.call(program.pid, [MMAP])
            eventually(lambda: set(states(program.pid).values()) == {"T"}, "the stop again")
        os.kill(program.pid, signal.SIGCONT)
        program.goes_on()


def test_stopped_by_a_signal_while_it_stands() -> None:
    with waiting() as program:
        with tracee.stopped(program.pid):
            os.kill(program.pid, signal.SIGSTOP)
        eventually(lambda: set(states(program.pid).values()) == {"T"}, "the stop")
        os.kill(program.pid, signal.SIGCONT)
        program.goes_on()
        with tracee.calling(program.pid) as caller:
            os.kill(program.pid, signal.SIGSTOP)
            caller(MMAP)
            caller(MMAP)
        eventually(lambda: set(states(program.pid).values()) == {"T"}, "the stop")
        os.kill(program.pid, signal.SIGCONT)
        program.goes_on()


def test_a_program_held_at_its_exec() -> None:
    with launch([str(gobuild.build("hello"))], stdout=Redirect.STDERR) as program:
        with tracee.stopped(program.pid) as target:
            assert len(target.threads) == 1
            (registers,) = target.threads.values()
            assert target.read(registers.rip, 4)
            assert target.call([MMAP])[0] > 0
        first, second = tracee.call(program.pid, [MMAP, MMAP])
        assert first != second
        assert states(program.pid) == {program.pid: "t"}
        assert program.wait() == 0


def test_killed_while_it_stands_its_exit_is_its_parents() -> None:
    with waiting() as program:
        with tracee.stopped(program.pid):
            os.kill(program.pid, signal.SIGKILL)
        assert program.process.wait() == -signal.SIGKILL
    code = "import subprocess, sys\np = subprocess.Popen(['sleep', '60'])\nprint(p.pid, flush=True)\nprint(p.wait())"
    with python(code) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        eventually(lambda: Path(f"/proc/{pid}/syscall").read_text().startswith("230 "), "its clock_nanosleep")
        with tracee.stopped(pid):
            os.kill(pid, signal.SIGKILL)
        assert parent.stdout.readline() == "-9\n"
    with waiting() as program:
        with tracee.calling(program.pid) as caller:
            os.kill(program.pid, signal.SIGKILL)
            with pytest.raises(ProcessGone):
                [caller(MMAP) for _ in range(100)]
        assert program.process.wait() == -signal.SIGKILL


def test_no_process_a_zombie_a_thread() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    for act in (lambda pid: tracee.stopped(pid).__enter__(), lambda pid: tracee.call(pid, [MMAP])):
        with pytest.raises(ProcessGone):
            act(child.pid)
    child.wait()
    with pytest.raises(ProcessGone), tracee.stopped(child.pid):
        pass
    with waiting() as program, pytest.raises(NotAProgram), tracee.stopped(program.thread("spin")):
        pass


def test_by_another_thread_of_gotap_with_others_busy() -> None:
    """Python's lock is kept while processes stand, and ptrace belongs to the thread that seized."""
    busy = True

    def burn() -> None:
        while busy:
            sum(range(1000))

    burner = threading.Thread(target=burn)
    burner.start()
    try:
        with waiting() as program:
            for _ in range(20):
                with tracee.stopped(program.pid) as target:
                    assert target.threads
                tracee.call(program.pid, [MMAP])
            program.goes_on()
    finally:
        busy = False
        burner.join()


def test_a_c_program_without_go() -> None:
    with running("cat") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("runs\n")
        child.stdin.flush()
        assert child.stdout.readline() == "runs\n"
        assert tracee.call(child.pid, [MMAP])[0] > 0
        with tracee.stopped(child.pid) as target:
            target.call([MMAP])
        assert child.poll() is None
