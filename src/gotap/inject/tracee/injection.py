"""System calls made by a thread of the process, for gotap.

Two ways lead the thread back. As long as gotap lives it puts back what PTRACE_GETREGS showed, in the kind of stop it
found the thread in, so that the kernel itself begins an interrupted system call anew, with the time that is left of
it. Should gotap die, the thread finds a signal frame on its stack and returns through rt_sigreturn (frames.py): from
the one PTRACE_SETREGS that sends it off, no step needs gotap.

While it is away all signals wait, blocked, save those that the thread itself causes and those that cannot be.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from gotap.inject.tracee import frames, refusals, stacks
from gotap.inject.tracee.calls import Result, Syscall
from gotap.inject.tracee.deadline import Deadline, TimedOut
from gotap.inject.tracee.errors import CallFailed, CallUnfinished
from gotap.inject.tracee.gadgets import Gadgets
from gotap.inject.tracee.grip import LIMIT, changed
from gotap.inject.tracee.guard import Guard
from gotap.inject.tracee.memory import TargetMemory
from gotap.inject.tracee.registers import Registers
from gotap.process import ptrace
from gotap.process.errors import gone
from gotap.process.proc import Mapping

#: Bytes that one call may point to: names and paths.
DATA = 512
_SYSCALL_LENGTH = 2
_ALL = (1 << 64) - 1
_ERRORS = 4095  # MAX_ERRNO
_RSEQ_CS = 8  # offset in struct rseq
_SYNCHRONOUS = (signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS)
_BLOCKED = _ALL & ~sum(1 << (number - 1) for number in _SYNCHRONOUS)
_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")


class Seat(Struct, frozen=True):
    """A stopped thread that can make calls: its state, and where on its stack the way back is laid."""

    thread: int
    registers: Registers
    extended: bytes
    places: frames.Layout


def take_seat(thread: int, mappings: Sequence[Mapping], memory: TargetMemory) -> Seat | None:
    """None when its stack has no room, when it cannot be told how much it has, and when the thread was killed."""
    try:
        return _take_seat(thread, mappings, memory)
    except ProcessLookupError:
        return None


def _take_seat(thread: int, mappings: Sequence[Mapping], memory: TargetMemory) -> Seat | None:
    registers = Registers.unpack(ptrace.registers(thread))
    if not registers.is_64_bit or (not registers.in_syscall and _in_critical_section(thread, memory)):
        return None
    lowest = stacks.lowest(registers, mappings, memory.peek)
    if lowest is None:
        return None
    extended = ptrace.extended_state(thread)
    places = frames.layout(registers.rsp, extended, DATA)
    return Seat(thread, registers, extended, places) if places.frame >= lowest else None


def _in_critical_section(thread: int, memory: TargetMemory) -> bool:
    """Of restartable sequences (rseq(2)): taken away from there and put back, it would not begin anew as it has to."""
    area = ptrace.rseq_area(thread)
    return bool(area) and memory.peek(area + _RSEQ_CS, 8) != bytes(8)


class Caller:
    """Makes calls on one stopped thread; a context that puts it back into the event stop in which it was found."""

    def __init__(self, pid: int, seat: Seat, gadgets: Gadgets, memory: TargetMemory) -> None:
        self._pid, self._seat, self._gadgets, self._memory = pid, seat, gadgets, memory
        self._guard = Guard(pid, seat.thread, gadgets.call + _SYSCALL_LENGTH)
        self._mask: int | None = None
        self._answers: list[int] = []

    def __enter__(self) -> Caller:
        return self

    def __call__(self, call: Syscall) -> int:
        """What the call answers. Raises CallFailed, CallForbidden, CallUnfinished, ProgramChanged, ProcessGone."""
        try:
            with Deadline(LIMIT) as deadline:
                answer = self._make(call, deadline)
        except (ptrace.Ended, ProcessLookupError):
            raise gone(self._pid) from None  # or became another program: target.py knows
        except TimedOut:
            raise refusals.not_stopping(self._pid, [self._seat.thread]) from None
        if answer >= _ALL - _ERRORS + 1:
            raise CallFailed(str(call), _ALL + 1 - answer, len(self._answers), self._pid)
        self._answers.append(answer)
        return answer

    def _make(self, call: Syscall, deadline: Deadline) -> int:
        thread, places = self._seat.thread, self._seat.places
        arguments, data = self._arguments(call)
        self._guard.check(str(call), call.number, arguments)
        leaving = self._mask is None
        mask = self._lay_way_back() if leaving else 0
        if data:
            self._memory.write(places.data, data, thread)
        entry = replace(
            self._seat.registers,
            rip=self._gadgets.call,
            rsp=places.frame,
            rax=call.number,
            orig_rax=_ALL,
            **dict(zip(_ARGUMENTS, arguments, strict=False)),
        )
        ptrace.set_registers(thread, entry.pack())
        if leaving:
            self._mask = mask
            ptrace.block_signals(thread, _BLOCKED)
        self._to_syscall_stop(deadline)
        try:
            self._to_syscall_stop(deadline)
        except TimedOut:
            raise self._give_up(call) from None
        return Registers.unpack(ptrace.registers(thread)).rax

    def _lay_way_back(self) -> int:
        """Writes the frame; the mask of blocked signals that it restores.

        A thread within sigsuspend and the like has another mask until a signal comes. That is ended here, so that a
        signal cannot be handled without the call returning: it waits until the call has begun anew, and ends it then.
        """
        thread, places = self._seat.thread, self._seat.places
        mask = ptrace.blocked_signals(thread)
        frame = frames.build(self._seat.registers, mask, self._seat.extended, self._gadgets.restore, places)
        self._memory.write(places.frame, frame, thread)
        ptrace.block_signals(thread, mask)
        return mask

    def _arguments(self, call: Syscall) -> tuple[list[int], bytes]:
        """Numbers for the registers, and the bytes that some of them point to."""
        numbers, data = [], b""
        for argument in call.arguments:
            if isinstance(argument, Result):
                argument = self._answers[argument.index]
            elif isinstance(argument, bytes):
                pointer = self._seat.places.data + len(data)
                data += argument.ljust(-(-len(argument) // 8) * 8, b"\0")
                argument = pointer
            numbers.append(argument & _ALL)
        if len(data) > DATA:
            raise ValueError(f"{call} points to {len(data)} bytes, {DATA} have room")
        return numbers, data

    def _to_syscall_stop(self, deadline: Deadline) -> None:
        """To the entry of the call, or from there to its exit; a job-control stop does not keep it."""
        number = 0
        while True:
            ptrace.resume_to_syscall(self._seat.thread, number)
            stop = deadline.wait_for_stop(self._seat.thread)
            if stop == ptrace.Stop(0, ptrace.SYSCALL_STOP):
                return
            if stop.event == ptrace.EVENT_EXEC:
                raise changed(self._pid)
            number = stop.signal if stop.event == 0 else 0

    def _give_up(self, call: Syscall) -> CallUnfinished:
        """Interrupts the call and waits for its exit."""
        ptrace.interrupt(self._seat.thread)
        with Deadline(LIMIT) as deadline:
            deadline.wait_for_stop(self._seat.thread)
        return CallUnfinished(
            f"process {self._pid} did not come back from {call} within {LIMIT:.0f} s",
            "a supervisor of its seccomp filter may hold it up (SECCOMP_RET_USER_NOTIF); --via uprobe needs no call",
        )

    def __exit__(self, *_: object) -> None:
        """Back into an event stop, then mask and registers as they were: until then it would return by itself."""
        if self._mask is None:
            return
        thread = self._seat.thread
        with contextlib.suppress(ptrace.Ended, TimedOut, ProcessLookupError):
            ptrace.interrupt(thread)
            ptrace.resume(thread)
            with Deadline(LIMIT) as deadline:
                while (stop := deadline.wait_for_stop(thread)).event != ptrace.EVENT_STOP:
                    ptrace.interrupt(thread)
                    ptrace.resume(thread, stop.signal if stop.signal != ptrace.SYSCALL_STOP else 0)
            ptrace.block_signals(thread, self._mask)
            ptrace.set_registers(thread, self._seat.registers.pack())
