"""ptrace(2), seized tracees only (never PTRACE_ATTACH). All calls must come from the thread that seized.

Requests and waits keep Python's lock: with another busy thread, giving it up costs up to 5 ms each time, and processes
stand still meanwhile. So a wait needs something that interrupts it. Failures are OSError with the kernel's errno.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
from typing import NamedTuple

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

# include/uapi/linux/ptrace.h
_POKEDATA = 5
_CONT = 7
_GETREGS = 12
_SETREGS = 13
_DETACH = 17
_SYSCALL = 24
_SETOPTIONS = 0x4200
_GETREGSET = 0x4204
_SEIZE = 0x4206
_INTERRUPT = 0x4207
_LISTEN = 0x4208
_GETSIGMASK = 0x420A
_SETSIGMASK = 0x420B
_SECCOMP_GET_FILTER = 0x420C
_GET_RSEQ_CONFIGURATION = 0x420F
_O_TRACESYSGOOD = 1
_O_TRACEEXEC = 1 << 4
EVENT_EXEC = 4
EVENT_STOP = 128
#: The signal that a system call's entry and exit stops show: SIGTRAP with PTRACE_O_TRACESYSGOOD's bit.
SYSCALL_STOP = signal.SIGTRAP | 0x80

_NT_X86_XSTATE = 0x202  # include/uapi/linux/elf.h
#: Kernel's size of sigset_t, and of struct user_regs_struct (x86-64).
_SIGSET, _USER_REGS = 8, 27 * 8
_RSEQ_CONFIGURATION = 24  # struct ptrace_rseq_configuration
_BPF_MAXINSNS = 4096  # include/uapi/linux/bpf_common.h
#: Room for any state component there is: AMX's tiles end at 11008 (Intel SDM 1, 13.4).
_XSTATE_ROOM = 1 << 16

# include/uapi/linux/wait.h, include/uapi/asm-generic/siginfo.h
_P_PID = 1
_WNOHANG, _WSTOPPED, _WEXITED, _WNOWAIT, _WALL = 1, 2, 4, 0x01000000, 0x40000000
_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED = 1, 2, 3

#: Tests only: gotap is killed right after this step, where a step is a ptrace request or a write to a tracee's memory.
#: Whatever the number, what gotap looks at must run on as if nothing had been.
_DIE_AT = int(os.environ.get("GOTAP_TEST_DIE_AT", "0"))
_steps = 0


def step() -> None:
    """Counts a step that a tracee could notice; see GOTAP_TEST_DIE_AT."""
    global _steps
    _steps += 1
    if _steps == _DIE_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def _ptrace(request: int, pid: int, data: int = 0, address: int = 0) -> int:
    answer: int = _libc.ptrace(request, pid, address, data)
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    step()
    return answer


# -- control ----------------------------------------------------------------------------------------------------------


def seize(pid: int, *, syscalls: bool = False) -> None:
    """Traces without stopping; the next execve ends in EVENT_EXEC. `syscalls`: their stops tell themselves apart.

    Not PTRACE_TRACEME: its exec stop is the delivery of a SIGTRAP, which kills the program if the tracer dies during
    it. An event stop delivers nothing, and without PTRACE_O_EXITKILL the kernel resumes the program then.
    """
    _ptrace(_SEIZE, pid, _O_TRACEEXEC | (_O_TRACESYSGOOD if syscalls else 0))


def tell_syscalls_apart(pid: int) -> None:
    """What `seize(syscalls=True)` does, for a tracee that has been seized without."""
    _ptrace(_SETOPTIONS, pid, _O_TRACEEXEC | _O_TRACESYSGOOD)


def interrupt(pid: int) -> None:
    """Makes a tracee stop with EVENT_STOP, or stop so again right after it is resumed, before any user instruction.

    A stop that comes in between, the delivery of a signal say, takes the request's place: it has to be made again.
    """
    _ptrace(_INTERRUPT, pid)


def resume(pid: int, signal: int = 0) -> None:
    """Continues; from the stop at a signal's delivery, with that signal."""
    _ptrace(_CONT, pid, signal)


def resume_to_syscall(pid: int, signal: int = 0) -> None:
    """Continues to the next entry or exit of a system call."""
    _ptrace(_SYSCALL, pid, signal)


def listen(pid: int) -> None:
    """Leaves a job-control stop in force until SIGCONT."""
    _ptrace(_LISTEN, pid)


def detach(pid: int, signal: int = 0) -> None:
    """Lets go of it, from an event stop; from the stop at a signal's delivery, with that signal.

    Signals that came meanwhile are pending and get delivered.
    """
    _ptrace(_DETACH, pid, signal)


# -- state ------------------------------------------------------------------------------------------------------------


def registers(pid: int) -> bytes:
    """struct user_regs_struct of a stopped tracee (arch/x86/include/asm/user_64.h)."""
    buffer = ctypes.create_string_buffer(_USER_REGS)
    _ptrace(_GETREGS, pid, ctypes.addressof(buffer))
    return buffer.raw


def set_registers(pid: int, content: bytes) -> None:
    buffer = ctypes.create_string_buffer(content, _USER_REGS)
    _ptrace(_SETREGS, pid, ctypes.addressof(buffer))


def extended_state(pid: int) -> bytes:
    """What XSAVE would leave, not compacted: x87, SSE, AVX, … with XCR0 at byte 464 (regset NT_X86_XSTATE)."""
    buffer = ctypes.create_string_buffer(_XSTATE_ROOM)
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), _XSTATE_ROOM), 16)
    _ptrace(_GETREGSET, pid, ctypes.addressof(vector), _NT_X86_XSTATE)
    return buffer.raw[: struct.unpack("=QQ", vector.raw)[1]]


def blocked_signals(pid: int) -> int:
    """The signal mask, bit n-1 for signal n; within sigsuspend and the like that to which the call will return."""
    buffer = ctypes.create_string_buffer(_SIGSET)
    _ptrace(_GETSIGMASK, pid, ctypes.addressof(buffer), _SIGSET)
    return int.from_bytes(buffer.raw, "little")


def block_signals(pid: int, mask: int) -> None:
    """Sets the signal mask; what arrives stays pending. The kernel leaves SIGKILL and SIGSTOP out."""
    buffer = ctypes.create_string_buffer(mask.to_bytes(_SIGSET, "little"), _SIGSET)
    _ptrace(_SETSIGMASK, pid, ctypes.addressof(buffer), _SIGSET)


def rseq_area(pid: int) -> int:
    """Address of a stopped tracee's struct rseq, 0 for none, or when the kernel (before 5.13) does not tell."""
    buffer = ctypes.create_string_buffer(_RSEQ_CONFIGURATION)
    with contextlib.suppress(OSError):
        _ptrace(_GET_RSEQ_CONFIGURATION, pid, ctypes.addressof(buffer), _RSEQ_CONFIGURATION)
    return int.from_bytes(buffer.raw[:8], "little")


def seccomp_filter(pid: int, index: int) -> bytes | None:
    """The instructions of a stopped tracee's filter, 0 for the latest; None if it has no more.

    Takes CAP_SYS_ADMIN and a caller without filters, else EACCES; EINVAL when the kernel is built without it.
    """
    size = _BPF_MAXINSNS * 8
    buffer = ctypes.create_string_buffer(size)
    try:
        count = _ptrace(_SECCOMP_GET_FILTER, pid, ctypes.addressof(buffer), index)
    except FileNotFoundError:
        return None
    return buffer.raw[: count * 8]


def poke(pid: int, address: int, word: bytes) -> None:
    """Writes 8 bytes, aligned or not, also where the tracee itself may not write."""
    _ptrace(_POKEDATA, pid, int.from_bytes(word, "little"), address)


# -- waiting ----------------------------------------------------------------------------------------------------------


class Stop(NamedTuple):
    """Where a tracee stands: `event` 0 is the delivery of `signal`, or a system call's stop (SYSCALL_STOP)."""

    event: int
    signal: int


class Ended(Exception):
    """The thread has ended, or is no tracee of the calling thread's process (any more)."""


def wait_for_stop(pid: int, *, block: bool = True) -> Stop | None:
    """The stop of one tracee; None when there is none yet (not `block`), or a signal came to gotap. Raises Ended.

    The wait consumes nothing. So a signal whose delivery a tracee has stopped at stays in its exit code and gets
    delivered if gotap dies before it resumes it, where a consumed one is lost (wait_task_stopped clears the code,
    kernel/exit.c; ptrace_stop returns it, kernel/signal.c), and the exit code of a child stays for its `wait`.

    Only EVENT_EXEC is consumed, which delivers nothing: before that the kernel takes requests to a thread that has just
    become the leader for ones to the old leader, and refuses them (looks_like_a_spurious_pid, kernel/ptrace.c).
    """
    answer = _waitid(pid, _WSTOPPED | _WEXITED | _WNOWAIT | _WALL | (0 if block else _WNOHANG))
    if answer is None:
        return None
    code, status = answer
    if code in (_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED):
        raise Ended(pid)
    stop = Stop(status >> 8, status & 0xFF)
    if stop.event == EVENT_EXEC:
        _waitid(pid, _WSTOPPED | _WALL | _WNOHANG)
    return stop


def reap(pid: int) -> None:
    """Takes note of a tracee's end, so that its own parent is told. Not for gotap's children: their code is theirs."""
    with contextlib.suppress(Ended):
        _waitid(pid, _WEXITED | _WNOHANG | _WALL)


def _waitid(pid: int, options: int) -> tuple[int, int] | None:
    """si_code and si_status; None: nothing to tell, or EINTR. Raises Ended (ECHILD)."""
    info = ctypes.create_string_buffer(128)
    if _libc.waitid(_P_PID, pid, info, options) < 0:
        number = ctypes.get_errno()
        if number == errno.EINTR:
            return None
        raise Ended(pid)
    # siginfo_t: si_signo, si_errno, si_code, a hole, si_pid, si_uid, si_status
    number, _, code, _, _, _, status = struct.unpack_from("=iiiiiIi", info.raw)
    return (code, status) if number else None


def event(status: int) -> int:
    """The PTRACE_EVENT of a wait status, 0 for the delivery of a signal."""
    return status >> 16
