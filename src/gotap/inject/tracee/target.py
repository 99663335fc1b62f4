"""A process that stands still, and a process that makes system calls for gotap."""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import os
import time
from collections.abc import Iterator, Sequence

from gotap.inject.tracee import refusals
from gotap.inject.tracee.calls import Syscall
from gotap.inject.tracee.deadline import Deadline
from gotap.inject.tracee.errors import NoPlaceToCall
from gotap.inject.tracee.gadgets import Gadgets, find_gadgets
from gotap.inject.tracee.grip import LIMIT, Grip, changed, is_held
from gotap.inject.tracee.injection import Caller, Seat, take_seat
from gotap.inject.tracee.memory import TargetMemory
from gotap.inject.tracee.registers import Registers
from gotap.process import ptrace
from gotap.process.errors import NotPermitted, ProcessGone, gone
from gotap.process.proc import Mapping, Process, read_file

#: Threads that are tried one after the other before it is said that none has room.
_CANDIDATES = 64
_FUTEX = b"202"
#: How often, and after how many seconds, it is looked again whether a process has really ended.
_LOOKS, _LOOK_AGAIN = 10, 0.005


class Target:
    """A process of which threads stand; made by `stopped`.

    `stop_time_ns`, once all threads go on: from the first interrupt to the last detach; 0 for a program held at exec.
    """

    def __init__(self, process: Process, grip: Grip, memory: TargetMemory) -> None:
        self.pid = process.pid
        self.stop_time_ns = 0
        self._process, self._grip, self._memory = process, grip, memory
        self._threads: dict[int, Registers] | None = None

    @property
    def threads(self) -> dict[int, Registers]:
        """All threads by id, with the registers that each goes on with."""
        if self._threads is None:
            self._threads = {}
            for thread in sorted(self._grip.stopped):
                with contextlib.suppress(ProcessLookupError):  # killed meanwhile
                    self._threads[thread] = Registers.unpack(ptrace.registers(thread))
        return self._threads

    def read(self, address: int, size: int) -> bytes:
        """Raises MemoryRefused."""
        return self._memory.read(address, size)

    def write(self, address: int, content: bytes) -> None:
        """Also where the process itself may only read or execute. Raises MemoryRefused."""
        self._memory.write(address, content, next(iter(self._grip.stopped), self.pid))

    @contextlib.contextmanager
    def calling(self) -> Iterator[Caller]:
        """As the function `calling`, on one of the threads that stand."""
        mappings = self._process.mappings()
        gadgets = _gadgets(self._process, mappings, self._memory)
        for thread in sorted(self._grip.stopped):
            seat = take_seat(thread, mappings, self._memory)
            if seat is not None:
                with Caller(self.pid, seat, gadgets, self._memory) as caller:
                    yield caller
                return
        raise _no_seat(self.pid)

    def call(self, calls: Sequence[Syscall]) -> list[int]:
        with self.calling() as caller:
            return [caller(call) for call in calls]


@contextlib.contextmanager
def stopped(pid: int, *, limit: float = LIMIT) -> Iterator[Target]:
    """A context within which all threads of a process stand still, those that began meanwhile too.

    A program held at its exec (process/launch.py) is seized and stands already, and stays so at the end. Meanwhile
    gotap hurries (`_hurry`): what is done within should not take long. Raises TraceeError, ProcessGone, NotPermitted,
    NotAProgram.
    """
    with _known(pid) as process, contextlib.closing(_open(process)) as memory:
        grip = Grip(process)
        if is_held(pid):
            with Deadline(limit) as deadline:
                grip.adopt(deadline)
            yield Target(process, grip, memory)
            return
        refusals.wait_until_awake(process, limit)
        target = Target(process, grip, memory)
        with _hurry():
            try:
                with Deadline(limit) as deadline:
                    grip.stop_all(deadline)
                _check_same(memory)
                yield target
            finally:
                grip.release()
                target.stop_time_ns = time.monotonic_ns() - grip.interrupted_at if grip.interrupted_at else 0


@contextlib.contextmanager
def calling(pid: int, *, limit: float = LIMIT) -> Iterator[Caller]:
    """A context that gives a function: `caller(memfd_create("x"))` answers as the call does, or raises CallFailed.

    One thread stands meanwhile and makes the calls; at the end it goes on as if nothing had been. Raises TraceeError,
    ProcessGone, NotPermitted, NotAProgram.
    """
    if is_held(pid):
        with stopped(pid, limit=limit) as target, target.calling() as caller:
            yield caller
        return
    with _known(pid) as process, contextlib.closing(_open(process)) as memory:
        refusals.check_freezer(process)
        mappings = process.mappings()
        gadgets = _gadgets(process, mappings, memory)
        grip = Grip(process)
        try:
            seat = _find_seat(process, grip, memory, limit)
            _check_same(memory)
            with Caller(pid, seat, gadgets, memory) as caller:
                yield caller
        finally:
            grip.release()


def call(pid: int, calls: Sequence[Syscall], *, limit: float = LIMIT) -> list[int]:
    """What the calls answer, made one after the other by one thread; the first that fails raises CallFailed."""
    with calling(pid, limit=limit) as caller:
        return [caller(each) for each in calls]


@contextlib.contextmanager
def _known(pid: int) -> Iterator[Process]:
    """The process. One that seems gone and lives is about to become another program (execve).

    Within execve by a thread that is not the leader, much of /proc fails, and the pidfd tells an end: all threads end
    but that one, and then it takes the leader's place (de_thread, fs/exec.c).
    """
    try:
        with Process(pid) as process:
            yield process
    except ProcessGone:
        for _ in range(_LOOKS):
            if refusals.thread_states(pid):
                raise changed(pid) from None
            time.sleep(_LOOK_AGAIN)
        raise gone(pid) from None


def _open(process: Process) -> TargetMemory:
    """Its memory; a moment later if it is about to become another program, since nothing of it is known yet.

    Raises AlreadyTraced and CannotTrace too: the kernel asks for the same right as for tracing.
    """
    try:
        for _ in range(_LOOKS):
            with contextlib.suppress(ProcessGone):
                refusals.check_architecture(process)
                return TargetMemory(process.pid, process.load_bias(0))
            if not process.is_alive():
                break
            time.sleep(_LOOK_AGAIN)
        raise gone(process.pid)
    except NotPermitted as error:
        raise refusals.refused(process, PermissionError(errno.EPERM, os.strerror(errno.EPERM))) from error


def _check_same(memory: TargetMemory) -> None:
    """What was read before it stood is only true of the same program. Raises ProgramChanged."""
    if not memory.is_current:
        raise changed(memory.pid)


def _gadgets(process: Process, mappings: Sequence[Mapping], memory: TargetMemory) -> Gadgets:
    found = find_gadgets(mappings, memory.peek, process.exe)
    if found is None:
        _check_same(memory)
        raise NoPlaceToCall(
            f"process {process.pid} has no code that gotap can call the kernel with: neither Go's runtime nor a libc",
            "use --via uprobe",
        )
    return found


def _find_seat(process: Process, grip: Grip, memory: TargetMemory, limit: float) -> Seat:
    """Stops threads, one at a time, until one has room for the call; the others go on.

    There may be none at a moment, say in a program that just begins: again until the limit. Raises NoPlaceToCall.
    """
    with Deadline(limit) as deadline:
        while not deadline.has_passed:
            mappings, stood = process.mappings(), False
            for thread in itertools.islice(_by_idleness(process.pid), _CANDIDATES):
                if not grip.stop_one(thread, deadline):
                    continue
                stood = True
                seat = take_seat(thread, mappings, memory)
                if seat is not None:
                    return seat
                grip.let_go(thread)
            if not stood:
                raise gone(process.pid)
            time.sleep(_LOOK_AGAIN)
    raise _no_seat(process.pid)


def _by_idleness(pid: int) -> Iterator[int]:
    """Threads, those first that miss least: asleep until they are woken, then within other calls, then running.

    Sysmon of Go is in a call nearly always, on a stack with room.
    """
    others: dict[bool, list[int]] = {True: [], False: []}
    for thread in refusals.threads(pid):
        try:
            words = read_file(f"/proc/{pid}/task/{thread}/syscall").split()
        except OSError:  # the kernel has no such file, or the thread has ended
            words = [b"running"]
        if words[0] == _FUTEX and words[4] == b"0x0":
            yield thread
        else:
            others[words[0].isdigit()].append(thread)
    for thread in (*others[True], *others[False]):
        if refusals.thread_state(pid, thread) not in (None, "D"):
            yield thread


def _no_seat(pid: int) -> NoPlaceToCall:
    return NoPlaceToCall(
        f"no thread of process {pid} has room on its stack for a call of the kernel that returns by itself",
        "try again when it does something else, or use --via uprobe",
    )


@contextlib.contextmanager
def _hurry() -> Iterator[None]:
    """What may make a stop longer is put off: Python's collection of its oldest objects (100 ms), and other programs.

    On a busy machine the tracer waits for a CPU after each thread that it waits for. Under SCHED_FIFO, where gotap may,
    90 of 100 stops of a loaded program took 0.6 ms instead of 9.6 (load 15 on 2 CPUs).
    """
    collects, policy = gc.isenabled(), os.sched_getscheduler(0)
    gc.disable()
    hurries = policy == os.SCHED_OTHER and _schedule(os.SCHED_FIFO, 1)
    try:
        yield
    finally:
        if hurries:
            _schedule(policy, 0)
        if collects:
            gc.enable()


def _schedule(policy: int, priority: int) -> bool:
    """The calling thread only. False if it may not (CAP_SYS_NICE, RLIMIT_RTPRIO)."""
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError:
        return False
    return True
