"""Seizes the threads of a process and stops them: all, or one; and lets go of them, whatever has happened.

Nothing is held that would be lost with gotap: threads stand in event stops, signals are passed on as they come.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import time

from gotap.inject.tracee import refusals
from gotap.inject.tracee.deadline import Deadline, TimedOut, tracer_of
from gotap.inject.tracee.errors import ProgramChanged
from gotap.inject.tracee.memory import close, pread
from gotap.process import ptrace
from gotap.process.errors import gone, unreadable
from gotap.process.proc import Process

#: Seconds within which threads must have stopped; without frozen ones and disks that fail it takes microseconds.
LIMIT = 2.0
_ATTEMPTS = 8
#: Seconds in which another tracer may let go, at first and when threads are seized already: a signal stops those.
_PATIENCE, _PATIENCE_WITH_OTHERS = 1.0, 0.05
_STAT = 2048  # more than a line of /proc/PID/stat


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
        with _ThreadCount(self.pid) as count:
            while found := [t for t in refusals.threads(self.pid) if t not in self._seized and t not in self._ended]:
                new = [thread for thread in found if self.seize(thread)]
                for thread in new:
                    self.interrupt(thread)
                for thread in new:
                    self.wait(thread, deadline)
                if count.read() == len(self.stopped):
                    break
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
        for attempt in range(_ATTEMPTS):
            try:
                ptrace.seize(thread, syscalls=True)
            except OSError as error:
                failure = error
            else:
                self._seized.add(thread)
                return True
            if failure.errno == errno.ESRCH or refusals.thread_state(self.pid, thread) is None:
                self._ended.add(thread)
                if not self.process.is_alive():
                    raise gone(self.pid) from None
                return False
            tracer = tracer_of(thread)
            if tracer == threading.get_native_id():  # it called execve, and so became the leader
                self._seized.add(thread)
                return True
            if tracer:
                if attempt == 0 and self._outlasts(thread):
                    continue
                break
            # One that has ended is refused with EPERM too (ptrace_attach, kernel/ptrace.c), and the leader of a process
            # whose other thread calls execve ends just before that one takes its place.
            time.sleep(attempt / 1000)
        raise refusals.refused(self.process, failure) from None

    def _outlasts(self, thread: int) -> bool:
        """Whether its tracer lets go of it soon, as another gotap does; a debugger stays."""
        end = time.monotonic() + (_PATIENCE_WITH_OTHERS if self._seized else _PATIENCE)
        while time.monotonic() < end:
            if not tracer_of(thread):
                return True
            time.sleep(0.001)
        return False

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
                stop = deadline.wait_for_stop(thread, self._take_note_of_ends)
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
        """Detaches all. Threads that do not stand yet are let go of as soon as they do (`settle`)."""
        try:
            self.let_go(*self._seized)
        except BaseException:  # KeyboardInterrupt
            self.let_go(*self._seized)
            raise
        if self._ended and refusals.is_ours(self.pid) and self.pid not in _owed.threads:
            self.let_go(self.pid)  # one that called execve, in the leader's place

    def let_go(self, *threads: int) -> None:
        late = set()
        for thread in threads:
            try:
                ptrace.detach(thread)
            except OSError:
                late.add(thread)
            self._seized.discard(thread)
            self.stopped.discard(thread)
        if late:
            self._let_go_late(late)

    def _let_go_late(self, late: set[int]) -> None:
        """Threads that do not stand: they end, or have yet to come to the stop that they were asked for.

        Of those one may be within execve, and wait for the end of all others; then it takes the leader's place.
        """
        with Deadline(LIMIT) as deadline:
            while late and not deadline.has_passed:
                for thread in sorted(late):
                    try:
                        stop = ptrace.wait_for_stop(thread, block=False)
                    except ptrace.Ended:
                        self._note_end(thread)
                        late.discard(thread)
                        if thread != self.pid and refusals.is_ours(self.pid):
                            late.add(self.pid)
                        continue
                    if stop is not None:
                        _detach_with(thread, stop)
                    if stop is not None or not refusals.is_ours(thread):
                        late.discard(thread)
                if late:
                    deadline.wait_a_little(max(late))
        _owed.threads.update(late)

    def _take_note_of_ends(self) -> None:
        """A thread that calls execve waits until the tracers of all others have taken note that these ended."""
        for thread in tuple(self._seized):
            try:
                ptrace.wait_for_stop(thread, block=False)
            except ptrace.Ended:
                self._note_end(thread)

    def _note_end(self, thread: int) -> None:
        self._ended.add(thread)
        self._seized.discard(thread)
        self.stopped.discard(thread)
        _owed.threads.discard(thread)
        if thread != self.pid or not self._is_child:
            ptrace.reap(thread)


class _ThreadCount:
    """How many threads there are, an ended leader among them: cheaper than to look at all while they stand."""

    def __init__(self, pid: int) -> None:
        try:
            self._descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(pid, "stat", error) from None

    def read(self) -> int:
        """Without giving up Python's lock; -1 when the process is gone."""
        buffer = ctypes.create_string_buffer(_STAT)
        if pread(self._descriptor, buffer, _STAT, 0) <= 0:
            return -1
        return int(buffer.value.rpartition(b")")[2].split()[17])

    def __enter__(self) -> _ThreadCount:
        return self

    def __exit__(self, *_: object) -> None:
        close(self._descriptor)


def changed(pid: int) -> ProgramChanged:
    return ProgramChanged(f"process {pid} became another program just now (execve)", "try again")


def is_held(pid: int) -> bool:
    """Whether the calling thread has seized the process, and it stands: at its exec, or within `stopped`."""
    settle()
    return pid not in _owed.threads and refusals.is_ours(pid)


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
        elif not refusals.is_ours(thread):
            _owed.threads.discard(thread)


def _detach_with(thread: int, stop: ptrace.Stop) -> None:
    is_delivery = stop.event == 0 and stop.signal != ptrace.SYSCALL_STOP
    with contextlib.suppress(OSError):
        ptrace.detach(thread, stop.signal if is_delivery else 0)
        _owed.threads.discard(thread)
