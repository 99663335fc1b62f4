"""Starts a program and holds it before its first instruction, so that probes are in place when it begins.

gotap may die at any moment: before the exec no program has begun and the fork ends; held or released, it runs on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import sys
import termios
import threading
import tty
import warnings
from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import NoReturn

from gotap.process import ptrace
from gotap.process.errors import CannotHold, LaunchError

#: What a shell exits with when a command is not found, and when it is found but cannot be executed.
NOT_FOUND, NOT_EXECUTABLE = 127, 126

#: What Python ignores and a program must find as it would without us (as subprocess's restore_signals).
_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


class Redirect(Enum):
    """Where an output of the program goes."""

    INHERIT = "inherit"
    STDERR = "stderr"  # to gotap's stderr
    PANE = "pane"  # to `Program.output`


class Program:
    """A program that gotap has started; made by `launch`, held until `release`.

    As a context manager it is released at the end, whatever happened; it is never killed.
    """

    def __init__(self, pid: int, output: int | None) -> None:
        self.pid = pid
        #: Read end of what was redirected to PANE, non-blocking; the reader gets EIO when the last writer is gone.
        self.output = output
        self._tracer = threading.get_ident()
        self._held = True
        self._code: int | None = None
        self._pidfd = os.pidfd_open(pid)

    def fileno(self) -> int:
        """The pidfd: readable, for poll and epoll, once the program has ended."""
        return self._pidfd

    def release(self) -> None:
        """Lets the program begin. Only the thread that launched it can; a second call does nothing."""
        if not self._held:
            return
        if threading.get_ident() != self._tracer:
            raise RuntimeError("ptrace belongs to a thread: release the program from the one that launched it")
        self._held = False
        with contextlib.suppress(ProcessLookupError):  # killed while it was held
            ptrace.detach(self.pid)

    def poll(self) -> int | None:
        """The exit code if the program has ended: its own, or 128+n for signal n. Waits for this child only."""
        if self._code is None:
            self._take_note(os.WNOHANG)
        return self._code

    def wait(self) -> int:
        """The exit code, when the program ends. Released first, since a held one never does."""
        self.release()
        while self._code is None:
            self._take_note(0)
        return self._code

    def _take_note(self, options: int) -> None:
        """Not waitpid, which would take a stop under ptrace for the program's end, and away from who traces it."""
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | options)
        if ended is not None:
            self._code = ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status

    def send(self, number: int) -> None:
        """Sends a signal; nothing happens when the program has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def pass_on(self, number: int) -> None:
        """Passes on a signal that gotap got, unless the terminal sent it to both (a second ^C often means: now)."""
        if not (number in (signal.SIGINT, signal.SIGQUIT) and in_foreground()):
            self.send(number)

    def close(self) -> None:
        """Releases the program and gives up what is known of it; a program that runs on keeps running."""
        self.release()
        for descriptor in (self._pidfd, self.output):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._pidfd, self.output = -1, None

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def exit_code(status: int) -> int:
    """A wait status as a shell tells it: the exit code, or 128+n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def in_foreground() -> bool:
    """Whether keys typed at gotap's terminal send it signals, and so to the program, which is in the same group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def launch(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdout: Redirect = Redirect.INHERIT,
    stderr: Redirect = Redirect.INHERIT,
) -> Program:
    """Executes `arguments[0]`, found as a shell finds it, and returns when it stands before its first instruction.

    A pane is a pseudo-terminal, not a pipe: should gotap die, writes fail with EIO, where a pipe's SIGPIPE would kill
    the program. Raises LaunchError with the shell's exit code, or CannotHold when ptrace is refused.
    """
    output = pane = None
    if Redirect.PANE in (stdout, stderr):
        output, pane = _open_pane()
    try:
        pid = _start(arguments, os.environ if environment is None else environment, stdout, stderr, pane)
        program = Program(pid, output)
    except BaseException:
        if output is not None:
            os.close(output)
        raise
    finally:
        if pane is not None:
            os.close(pane)
    return program


def _open_pane() -> tuple[int, int]:
    output, pane = os.openpty()
    tty.setraw(pane)  # no echo, nothing put before a newline
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetwinsize(pane, termios.tcgetwinsize(sys.__stderr__ or 2))
    os.set_blocking(output, False)
    return output, pane


def _start(
    arguments: Sequence[str], environment: Mapping[str, str], stdout: Redirect, stderr: Redirect, pane: int | None
) -> int:
    """Forks, seizes the child while it waits at the gate, opens the gate and returns at the exec's stop."""
    words, paths = list(arguments), _candidates(arguments[0], environment)
    gate_read, gate_write = os.pipe()
    failure_read, failure_write = os.pipe()
    try:
        with warnings.catch_warnings():
            # numpy's threads make Python 3.12 warn of forks; this child takes no lock that they may hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os.close(gate_write)
            _become(paths, words, environment, stdout, stderr, pane, gate_read, failure_write)
        os.close(failure_write)
        failure_write = -1
        _seize(pid, words[0])
        os.write(gate_write, b"g")
        status = _wait_for_exec(pid)
        if status is not None:
            raise _failure(words[0], os.read(failure_read, 64), status)
        return pid
    finally:
        for descriptor in (gate_read, gate_write, failure_read, failure_write):
            if descriptor >= 0:
                os.close(descriptor)


def _seize(pid: int, name: str) -> None:
    try:
        ptrace.seize(pid)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)  # our own fork, before any exec
        os.waitpid(pid, 0)
        raise CannotHold(
            f"{name} cannot be held before its first instruction: ptrace: {error.strerror}",
            "run gotap as root with CAP_SYS_PTRACE, allow ptrace (sysctl kernel.yama.ptrace_scope below 3, the "
            "container's seccomp profile), or start the program yourself and use `gotap attach`",
        ) from None


def _wait_for_exec(pid: int) -> int | None:
    """None at the exec's stop; the wait status if the child ended before. Signals on the way are delivered."""
    while True:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return status
        event = ptrace.event(status)
        if event == ptrace.EVENT_EXEC:
            return None
        with contextlib.suppress(ProcessLookupError):
            if event != ptrace.EVENT_STOP:
                ptrace.resume(pid, os.WSTOPSIG(status))
            elif os.WSTOPSIG(status) == signal.SIGTRAP:
                ptrace.resume(pid)
            else:
                ptrace.listen(pid)


def _become(
    paths: Sequence[str],
    words: list[str],
    environment: Mapping[str, str],
    stdout: Redirect,
    stderr: Redirect,
    pane: int | None,
    gate: int,
    failure: int,
) -> NoReturn:
    """The child's part: waits at the gate, then becomes the program. Never returns into gotap's code."""
    code = NOT_EXECUTABLE
    try:
        if os.read(gate, 1):
            targets = {Redirect.PANE: pane, Redirect.STDERR: 2}
            for descriptor, redirect in ((1, stdout), (2, stderr)):
                target = targets.get(redirect)
                if target is not None:
                    os.dup2(target, descriptor)
            for ignored in _RESTORED:
                signal.signal(ignored, signal.SIG_DFL)
            number = _execute(paths, words, environment)
            code = NOT_FOUND if number in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE
            os.write(failure, struct.pack("<i", number))
    finally:
        os._exit(code)


def _execute(paths: Sequence[str], words: list[str], environment: Mapping[str, str]) -> int:
    """Returns only if no path can be executed: the errno, and rather that of a file that is there."""
    found = errno.ENOENT
    for path in paths:
        try:
            os.execve(path, words, environment)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                found = error.errno or errno.EACCES
    return found


def _candidates(name: str, environment: Mapping[str, str]) -> list[str]:
    """The paths that a shell would try; made before the fork, since the child should do little."""
    if "/" in name:
        return [name]
    return [os.path.join(directory or ".", name) for directory in environment.get("PATH", os.defpath).split(":")]


def _failure(name: str, told: bytes, status: int) -> LaunchError:
    """`told`: the errno of the exec as 4 bytes, or nothing if the child was killed."""
    code = exit_code(status)
    if len(told) < 4:
        return LaunchError(f"{name} was ended before it began (exit code {code})", "start it again", exit_code=code)
    number = struct.unpack("<i", told[:4])[0]
    if number == errno.ENOENT and "/" in name and os.path.exists(name):
        return LaunchError(
            f"{name} cannot be executed: the interpreter that it names does not exist",
            "see its first line (#!), or the program interpreter that `readelf -l` shows",
            exit_code=code,
        )
    if code == NOT_FOUND:
        where = "there is no such file" if "/" in name else "it is in no directory of PATH"
        return LaunchError(f"{name} was not found: {where}", "check the path", exit_code=code)
    remedies = {
        errno.EACCES: "it must be a regular file with the execute permission: chmod +x",
        errno.ENOEXEC: "it must be an executable of this machine, or a script that begins with #!",
    }
    return LaunchError(
        f"{name} cannot be executed: {os.strerror(number)}",
        remedies.get(number, "check that it runs without gotap"),
        exit_code=code,
    )
