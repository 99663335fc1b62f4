"""Watch Go processes that already run: spans and metrics of every HTTP request from now on.

Targets are process ids, or names of executables, each standing for all processes of that name. Targets that cannot be
watched are told and the others go on. Stops at SIGINT or SIGTERM, after --duration or --count, or with the last target.

  gotap attach 4711
  gotap attach server --to otlp
  gotap attach server --to json --duration 10s > spans.jsonl

Exit code: 0; 1 when there was no target to watch or no destination is left; 2 for wrong usage.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from gotap.commands.options import add_watch_arguments

    parser.add_argument("targets", nargs="+", metavar="PID|NAME", help="processes to watch")
    add_watch_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.descriptors import raise_limit
    from gotap.commands.main import FAILED, OK, print_error
    from gotap.commands.opening import open_session
    from gotap.commands.successors import Successors
    from gotap.errors import GotapError
    from gotap.process.find import resolve

    pids: dict[int, None] = {}
    for name in arguments.targets:
        try:
            pids |= dict.fromkeys(resolve(name))
        except GotapError as error:
            print_error(error)
    if not pids:
        return FAILED
    raise_limit()
    with open_session(arguments) as session:
        for pid in pids:
            if session.signals.received:
                break
            try:
                session.add(pid)
            except GotapError as error:
                print_error(error, str(pid))
        if not session.watched:
            return 128 + session.signals.received[0] if session.signals.received else FAILED
        session.announce()
        session.on_tick.append(Successors(session).look)
        session.run()
    return OK if session.sinks else FAILED
