"""Start a program and watch it from its first instruction; Go programs that it or its descendants start are watched too.

  gotap run -- ./server -port 8080
  gotap run --to otlp -- ./server
  gotap run --duration 30s --to json -- ./server > spans.jsonl

The program's exit ends gotap with the program's exit code (128+n for signal n). SIGINT and SIGTERM are passed on to
the program; a second one detaches and leaves it. --duration and --count end it with SIGTERM, --leave-running leaves it.
Exit code: the program's; 127 or 126 when it was not found or cannot be executed; 1 when it could not be watched.
"""

from __future__ import annotations

import argparse
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.commands.session import Session
    from gotap.process.launch import Program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from gotap.commands.options import add_watch_arguments

    add_watch_arguments(parser)
    parser.add_argument("--leave-running", action="store_true", help="leave the program running at the end")
    parser.add_argument("command", nargs="+", metavar="PROGRAM", help="the program and its arguments, after --")


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.main import print_error
    from gotap.commands.opening import open_session
    from gotap.process.errors import LaunchError
    from gotap.process.launch import launch

    live = _live(arguments)
    with open_session(arguments, pane=live) as session:
        try:
            program = launch(arguments.command, stdout=_redirect(arguments, live))
        except LaunchError as error:
            print_error(error)
            return error.exit_code
        with program:
            return _watch(session, program, arguments.leave_running)


def _live(arguments: argparse.Namespace) -> bool:
    """Whether the live table holds the terminal, so that the program's output needs a pane."""
    from gotap.sinks.terminal import is_live

    return "terminal" in (arguments.to or ["terminal"]) and is_live()


def _redirect(arguments: argparse.Namespace, live: bool):  # type: ignore[no-untyped-def]
    from gotap.process.launch import Redirect

    if live:
        return Redirect.PANE
    return Redirect.STDERR if "json" in (arguments.to or []) else Redirect.INHERIT


def _watch(session: Session, program: Program, leave_running: bool) -> int:
    """Attaches to the program and what it starts, until it ends or gotap is told to stop."""
    from gotap.commands.descendants import Descendants
    from gotap.commands.main import OK

    family = Descendants(session, program)
    family.first()
    program.release()
    session.on_tick.append(family.look)
    session.run(until=lambda: program.poll() is not None, alone=True)
    if session.signals:
        program.pass_on(session.signals.pop(0))
    elif not session.finished and not session.expired:
        return program.wait()
    elif leave_running:
        return OK
    else:
        program.send(signal.SIGTERM)
    session.run(until=lambda: program.poll() is not None, alone=True, unlimited=True)
    code = program.poll()
    return OK if code is None else code
