"""Watch Go processes that already run: spans and metrics of every HTTP request from now on.

Targets are process ids, names of executables, each standing for all processes of that name, or paths of executables
(with a slash), each standing for all processes that run that file. Targets that cannot be watched are told and the
others go on. Stops at SIGINT or SIGTERM, after --duration or --count, or with the last target.

  gotap attach 4711
  gotap attach server --to otlp
  gotap attach ./server --to spans.jsonl
  gotap attach server --to json --duration 10s > spans.jsonl

Exit code: 0; 1 when there was no target to watch or no destination is left; 2 for wrong usage.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.errors import GotapError

#: Processes that one message names.
_NAMED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from gotap.commands.options import add_watch_arguments

    parser.add_argument("targets", nargs="+", metavar="PID|NAME|PATH", help="processes to watch")
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
        refused: dict[int, GotapError] = {}
        for pid in pids:
            if session.signals.received:
                break
            try:
                session.add(pid)
            except GotapError as error:
                refused[pid] = error
        tell(refused)
        if not session.watched:
            return 128 + session.signals.received[0] if session.signals.received else FAILED
        session.announce()
        session.on_tick.append(Successors(session).look)
        session.run()
    return OK if session.sinks else FAILED


def tell(refused: dict[int, GotapError]) -> None:
    """Why processes are not watched: a line for each cause, however many they are; a remedy of several causes once."""
    from gotap.commands.streams import say

    causes: dict[tuple[str, str], list[str]] = {}
    for pid, error in refused.items():
        causes.setdefault((error.remedy, str(error)), []).append(str(pid))
    by_remedy = sorted(causes, key=lambda cause: cause[0])  # stable: otherwise in the order of the targets
    for place, (remedy, what) in enumerate(by_remedy):
        pids = causes[remedy, what]
        more = f" and {len(pids) - _NAMED} more" if len(pids) > _NAMED else ""
        say(what if len(pids) == 1 and pids[0] in what else f"{', '.join(pids[:_NAMED])}{more}: {what}")
        if remedy and (place + 1 == len(by_remedy) or by_remedy[place + 1][0] != remedy):
            say(remedy)
