"""Seizes the threads of a process and stops them: all, or one; and lets go of them, whatever has happened.

Nothing is held that would be lost with gotap: threads stand in event stops, signals are passed on as they come.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time

from gotap.inject.tracee import refusals
from gotap.inject.tracee.deadline import Deadline, TimedOut
from gotap.inject.tracee.errors import ProgramChanged
from gotap.process import ptrace
from gotap.process.errors import gone
from gotap.process.proc import Process

#: Seconds within which threads must have stopped; without frozen ones and disks that fail it takes microseconds.
LIMIT = 2.0


class _Owed(threading.local):
    """Threads that this thread of gotap seized and that did not stop in time: they are let go of when they have."""

    def __init__(self) -> None:
        self.threads: set[int] = set()


_owed = _Owed()


class Grip:
    """The threads of one process that this thread of gotap has seized. `stopped` are those that stand.

    `interrupted_at`: time.monotonic_ns() of the first interrupt, 0 before.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.pid = process.pid
        self.stopped: set[int] = set()
        self.interrupted_at = 0
        self._seized: set[int] = set()
        self._ended: set[int] = set()
        # A child's exit code is for whoever started it; others' parents are told only after the tracer took note.
        self._is_child = process.parent == os.getpid()
        settle()

    # -- stopping -------------------------------------------------------------------------------------------------

    def stop_all(self, deadline: Deadline) -> None:
        """Until every thread there is stands, those that began meanwhile too: only a running thread makes new ones.

        Raises ProcessGone, ProgramChanged, NotStopping, CannotTrace, AlreadyTraced.
        """
        while found := [t for t in refusals.threads(self.pid) if t not in self._seized and t not in self._ended]:
            new = [thread for thread in found if self.seize(thread)]
            for thread in new:
                self.interrupt(thread)
            for thread in new:
                self.wait(thread, deadline)
            if refusals.thread_count(self.pid) == len(self.stopped):
                break  # cheaper than a look at all
        if not self.stopped:
            raise gone(self.pid)

    def stop_one(self, thread: int, deadline: Deadline) -> bool:
        """False when the thread has ended."""
        if not self.seize(thread):
            return False
        self.interrupt(thread)
        self.wait(thread, deadline)
        return thread in self.stopped

    def seize(self, thread: int) -> bool:
        """False when the thread has ended. Raises CannotTrace, AlreadyTraced, ProcessGone."""
        try:
            ptrace.seize(thread, syscalls=True)
        except OSError as error:
            # A zombie is refused with EPERM (ptrace_attach, kernel/ptrace.c).
            if error.errno == errno.ESRCH or refusals.thread_state(self.pid, thread) is None:
                self._ended.add(thread)
                if not self.process.is_alive():
                    raise gone(self.pid) from None
                return False
            raise refusals.refused(self.process, error) from None
        self._seized.add(thread)
        return True

    def interrupt(self, thread: int) -> None:
        if not self.interrupted_at:
            self.interrupted_at = time.monotonic_ns()
        with contextlib.suppress(ProcessLookupError):  # it ends: the wait will tell
            ptrace.interrupt(thread)

    def wait(self, thread: int, deadline: Deadline) -> None:
        """Until it stands in an event stop or has ended; signals on the way are delivered.

        The delivery of a signal only makes the handler's frame: the interrupt, asked for again, stops the thread before
        the handler's first instruction. Raises ProgramChanged, NotStopping.
        """
        while True:
            try:
                stop = deadline.wait_for_stop(thread)
                if stop.event == ptrace.EVENT_STOP:
                    self.stopped.add(thread)
                    return
                if stop.event == ptrace.EVENT_EXEC:
                    self.stopped.add(thread)
                    raise changed(self.pid)
                ptrace.interrupt(thread)
                ptrace.resume(thread, stop.signal)
            except ptrace.Ended:
                self._note_end(thread)
                return
            except ProcessLookupError:  # killed; its end is still to be seen
                continue
            except TimedOut:
                raise refusals.not_stopping(self.pid, [thread]) from None

    def adopt(self, deadline: Deadline) -> None:
        """Takes over what this thread of gotap has seized and stopped already (process/launch.py); they stay so.

        An exec's stop is left for an event stop behind it, still before the first instruction: registers that are set
        within execve are overwritten by it. Raises ProgramChanged, NotStopping.
        """
        for thread in refusals.threads(self.pid):
            try:
                stop = ptrace.wait_for_stop(thread, block=False)
                if stop is not None and stop.event == ptrace.EVENT_STOP:
                    self.stopped.add(thread)
                    continue
                ptrace.tell_syscalls_apart(thread)
                ptrace.interrupt(thread)
                ptrace.resume(thread)
                self.wait(thread, deadline)
            except (ptrace.Ended, ProcessLookupError):
                continue
        if not self.stopped:
            raise gone(self.pid)

    # -- letting go -----------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Detaches all; never raises. Threads that do not stand yet are let go of as soon as they do (`settle`)."""
        for thread in tuple(self._seized):
            self.let_go(thread)

    def let_go(self, thread: int) -> None:
        self._seized.discard(thread)
        self.stopped.discard(thread)
        try:
            ptrace.detach(thread)
        except OSError:
            _owed.threads.add(thread)
            with contextlib.suppress(ptrace.Ended), Deadline(LIMIT / 20) as deadline:
                _let_go_later(thread, deadline)
                return
            self._note_end(thread)

    def _note_end(self, thread: int) -> None:
        self._ended.add(thread)
        self._seized.discard(thread)
        self.stopped.discard(thread)
        _owed.threads.discard(thread)
        if thread != self.pid or not self._is_child:
            ptrace.reap(thread)


def changed(pid: int) -> ProgramChanged:
    return ProgramChanged(f"process {pid} became another program just now (execve)", "try again")


def settle() -> None:
    """Lets go of threads that did not stop in time and now have."""
    for thread in tuple(_owed.threads):
        try:
            stop = ptrace.wait_for_stop(thread, block=False)
        except ptrace.Ended:
            _owed.threads.discard(thread)
            continue
        if stop is not None:
            _detach_with(thread, stop)


def _let_go_later(thread: int, deadline: Deadline) -> None:
    """Waits a little for a stop, that of the interrupt asked for before. Raises ptrace.Ended."""
    with contextlib.suppress(TimedOut):
        _detach_with(thread, deadline.wait_for_stop(thread))


def _detach_with(thread: int, stop: ptrace.Stop) -> None:
    is_delivery = stop.event == 0 and stop.signal != ptrace.SYSCALL_STOP
    with contextlib.suppress(OSError):
        ptrace.detach(thread, stop.signal if is_delivery else 0)
        _owed.threads.discard(thread)
