"""Start a program and watch it from its first instruction, and the Go programs that it or its descendants start.

  gotap run -- ./server -port 8080
  gotap run --to otlp -- ./server
  gotap run --duration 30s --to json -- ./server > spans.jsonl

The program's exit ends gotap with the program's exit code (128+n for signal n). SIGINT and SIGTERM are passed on to
the program; a second one detaches and leaves it. --duration and --count end it, and what is watched below it, with
SIGTERM; --leave-running leaves it. All after PROGRAM is the program's.
Exit code: the program's; 127 or 126 when it was not found or cannot be executed; 1 when it could not be watched.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.commands.session import Session
    from gotap.process.launch import Program, Redirect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from gotap.commands.options import add_watch_arguments

    add_watch_arguments(parser)
    parser.usage = "gotap run [OPTION …] -- PROGRAM [ARGUMENT …]"
    parser.add_argument("--leave-running", action="store_true", help="leave the program running at the end")
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.descriptors import raise_limit, set_limit
    from gotap.commands.main import USAGE, print_error
    from gotap.commands.opening import open_session
    from gotap.commands.streams import say
    from gotap.process.errors import LaunchError
    from gotap.process.launch import launch

    command = arguments.command[arguments.command[:1] == ["--"] :]
    if not command:
        say("no program is named: gotap run -- PROGRAM [ARGUMENT …]", "`gotap run --help` tells what is accepted")
        return USAGE
    live = _live(arguments)
    limit = raise_limit()
    with open_session(arguments, pane=live) as session:
        if session.signals.received:
            return 128 + session.signals.received[0]
        try:
            program = launch(command, stdout=_stdout(arguments, live), stderr=_stderr(live))
        except LaunchError as error:
            print_error(error)
            return error.exit_code
        with program:
            set_limit(program.pid, limit)
            show_output(session, program)
            return _watch(session, program, arguments.leave_running)


def _live(arguments: argparse.Namespace) -> bool:
    """Whether the live table holds the terminal, so that the program's output needs a pane."""
    from gotap.sinks.terminal import is_live

    return "terminal" in (arguments.to or ["terminal"]) and is_live()


def _stderr(live: bool) -> Redirect:
    from gotap.process.launch import Redirect

    return Redirect.PANE if live and sys.stderr.isatty() else Redirect.INHERIT


def _stdout(arguments: argparse.Namespace, live: bool) -> Redirect:
    from gotap.process.launch import Redirect

    if live:
        return Redirect.PANE
    return Redirect.STDERR if "json" in (arguments.to or []) else Redirect.INHERIT


def show_output(session: Session, program: Program) -> None:
    """Gives the live table the program's output for its pane."""
    from gotap.sinks.terminal import LiveTable

    for sink in session.sinks:
        if isinstance(sink, LiveTable) and program.output is not None:
            sink.watch_output(program.output)


def _watch(session: Session, program: Program, leave_running: bool) -> int:
    """Attaches to the program and what it starts, until it ends or gotap is told to stop."""
    from gotap.commands.descendants import INTERVAL, Descendants

    family = Descendants(session, program)
    family.first()
    program.release()
    session.on_tick.append(family.look)
    session.look = INTERVAL
    code = _until_the_end(session, program, leave_running)
    family.last()
    return code


def _until_the_end(session: Session, program: Program, leave_running: bool) -> int:
    from gotap.commands.main import OK

    duration = session.limits.duration
    ends_at = None if duration is None else time.monotonic() + duration
    session.run(until=lambda: program.poll() is not None, alone=True)
    if session.signals.leave:
        return OK
    if not session.sinks:
        return _accompany(session, program, ends_at=ends_at, leave_running=leave_running)
    if session.signals.received:
        program.pass_on(session.signals.received.pop(0))
    elif session.limit_reached and leave_running:
        return OK
    elif session.limit_reached:
        with _below(session, program) as below:
            _end(program, below)
    else:
        return program.wait()
    return _await_end(session, program, passed_on=0 if session.limit_reached else 1)


@contextlib.contextmanager
def _below(session: Session, program: Program) -> Iterator[list[int]]:
    """Pidfds of the watched processes below the program, which stay when they are watched no more."""
    below = [os.dup(target.process.fileno()) for target in session.watched.values() if target.pid != program.pid]
    try:
        yield below
    finally:
        for pidfd in below:
            os.close(pidfd)


def _end(program: Program, below: list[int]) -> None:
    """SIGTERM to the program and to those below it that are or were watched: a shell would leave its child behind."""
    program.send(signal.SIGTERM)
    for pidfd in below:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)


def _await_end(session: Session, program: Program, passed_on: int) -> int:
    """Goes on watching until the program ends. The first signal is passed on, a second one detaches at once."""
    while True:
        session.run(until=lambda: program.poll() is not None, alone=True, unlimited=True)
        if (code := program.poll()) is not None:
            return code
        if session.signals.leave:
            return 0
        if not session.sinks:
            return _accompany(session, program, passed_on)
        number = session.signals.received.pop(0)
        if passed_on:
            return 128 + number
        program.pass_on(number)
        passed_on += 1


def _accompany(
    session: Session, program: Program, passed_on: int = 0, *, ends_at: float | None = None, leave_running: bool = False
) -> int:
    """Nobody listens any more, which is no reason to end the program: detaches, and waits for its end.

    `ends_at`: when --duration is over (time.monotonic()), which then holds as it would with listeners.
    """
    with _below(session, program) as below:
        session.detach()
        return _outlast(session, program, below, passed_on, ends_at, leave_running)


def _outlast(
    session: Session, program: Program, below: list[int], passed_on: int, ends_at: float | None, leave_running: bool
) -> int:
    """Waits for the program's end, and passes signals on."""
    from gotap.commands.main import OK

    while (code := program.poll()) is None:
        if session.signals.leave:
            return OK
        if passed_on and session.signals.received:
            return 128 + session.signals.received[-1]
        while session.signals.received:
            program.pass_on(session.signals.received.pop(0))
            passed_on += 1
        left = None if ends_at is None else ends_at - time.monotonic()
        if left is not None and left <= 0:
            if leave_running:
                return OK
            _end(program, below)
            ends_at = left = None
        session.signals.wait(program, timeout=left)
    return code
