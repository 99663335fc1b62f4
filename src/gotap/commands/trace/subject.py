"""What is traced: one Go program that runs, or is started and held at its first instruction."""

from __future__ import annotations

import contextlib
import os
import shlex
from types import TracebackType

from gotap.bpf.machine import Executable
from gotap.commands.trace.options import UsageError
from gotap.errors import GotapError
from gotap.image.image import Image
from gotap.process.errors import unreadable
from gotap.process.find import resolve
from gotap.process.launch import Program, Redirect, launch
from gotap.process.proc import Execution, Process

#: Processes that a message names.
_NAMED = 8


class SeveralProcesses(UsageError):
    """A name that more than one process has."""


class Subject:
    """A process and the executable that it ran when it was looked at; `program` if gotap has started it.

    The executable stays open, to be read and to be probed: what an exec brings meanwhile is not touched.
    """

    def __init__(self, pid: int, program: Program | None = None) -> None:
        self.process = Process(pid)
        self.program = program
        try:
            self.execution: Execution = self.process.execution()
            self.descriptor = os.open(self.process.exe, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.process.close()
            raise unreadable(pid, "the executable", error) from None
        except BaseException:
            self.process.close()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def path(self) -> str:
        """Opens the very file that was looked at."""
        return f"/proc/self/fd/{self.descriptor}"

    def image(self) -> Image:
        return Image.open(self.path, self.name)

    def executable(self, entry: int) -> Executable:
        """`entry`: entry point of the image."""
        return Executable(self.pid, self.process.initial_tgid, self.path, self.process.load_bias(entry))

    def has_become_another(self) -> bool:
        """Whether the process has executed a program since."""
        with contextlib.suppress(GotapError):
            return self.process.execution() != self.execution
        return False  # it has ended

    def runs_same_file(self) -> bool:
        """Whether what it executes now is the very file that was looked at."""
        with contextlib.suppress(GotapError):
            now = self.process.execution()
            return (now.device, now.inode) == (self.execution.device, self.execution.inode)
        return False

    def renew(self) -> None:
        """What it executes now is what is traced."""
        self.execution = self.process.execution()

    def current_name(self) -> str:
        """What its executable is called now."""
        try:
            return os.path.basename(os.readlink(self.process.exe))
        except OSError:
            return "?"

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def close(self) -> None:
        os.close(self.descriptor)
        self.process.close()

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def the_process(target: str) -> int:
    """The one process that -p means. Raises SeveralProcesses, or why there is none."""
    pids = resolve(target)
    if len(pids) > 1:
        named = ", ".join(map(str, pids[:_NAMED])) + (f" and {len(pids) - _NAMED} more" if len(pids) > _NAMED else "")
        raise SeveralProcesses(f"{len(pids)} processes are meant by {target}: {named}", f"choose one: -p {pids[0]}")
    return pids[0]


def start(command: str, *, stdout_taken: bool) -> Program:
    """Starts what -c says. `stdout_taken`: our stdout is not for the command's."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"-c {command!r} makes no command: {error}", "quote it as in a shell") from None
    if not words:
        raise UsageError("-c names no command", "gotap trace -c './server -x' 'main.handler'")
    return launch(words, stdout=Redirect.STDERR if stdout_taken else Redirect.INHERIT)
