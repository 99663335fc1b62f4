from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

import tracee_deaths
from gotap.process import ptrace
from waiting_threads import Waiting, waiting


def die_at_a_delivery(program: Waiting) -> None:
    """A gotap that is killed when a thread has stopped at the delivery of SIGUSR1, and it knows."""

    def action() -> None:
        thread = program.thread("pause")
        ptrace.seize(thread)
        stop = ptrace.wait_for_stop(thread)
        assert stop == ptrace.Stop(0, signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGKILL)

    assert not tracee_deaths.survives(0, action)


def test_a_signal_at_whose_delivery_gotap_dies_is_delivered() -> None:
    """The program sends the next only when this one has been handled."""
    with waiting() as program:
        for _ in range(5):
            die_at_a_delivery(program)
            program.goes_on()


def test_a_wait_that_takes_note_would_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The opposite, so that the test above is known to see it."""
    monkeypatch.setattr(ptrace, "_WNOWAIT", 0)
    with waiting() as program:
        die_at_a_delivery(program)
        before = program.rounds()
        program.goes_on(("sleep", "futex", "read"))
        assert program.rounds()["pause"] <= before["pause"] + 1


@pytest.mark.parametrize(
    "request_of", [ptrace.seize, ptrace.interrupt, ptrace.resume, ptrace.detach, ptrace.registers, ptrace.rseq_area]
)
def test_what_is_no_tracee_is_refused(request_of: Callable[[int], object]) -> None:
    pid = os.getpid()
    if request_of is ptrace.rseq_area:
        assert request_of(pid) == 0
        return
    with pytest.raises(OSError, match=r"No such process|Operation not permitted"):
        request_of(pid)


def test_the_end_of_a_thread_that_is_waited_for() -> None:
    with pytest.raises(ptrace.Ended):
        ptrace.wait_for_stop(os.getpid(), block=False)
    ptrace.reap(os.getpid())
