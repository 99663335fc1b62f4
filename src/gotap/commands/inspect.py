"""Tell whether executables and processes can be observed: by which mechanism, if not why, and what to change.

A target is a file, a process id, or the name of processes; what holds a slash or exists as a file is a file.

  ok  works
  ~~  works partly
  no  does not

Needs no root for files and for your own processes.
Exit code: 0 when every target could be read, whatever the verdict; 1 otherwise; 2 for wrong usage.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.commands.inspect_json import Parts
    from gotap.commands.judging import Judged


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", metavar="FILE|PID|NAME", help="executables or processes")
    parser.add_argument("-v", "--verbose", action="store_true", help="all facts with their evidence, all conditions")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object for each target, on one line (docs/inspect.schema.json)"
    )
    parser.add_argument(
        "--functions",
        metavar="PATTERN",
        help="list functions whose name holds this text or matches this regular expression",
    )
    parser.add_argument("--inlined", metavar="FUNC", help="list where calls of this function were inlined")
    parser.add_argument("--modules", action="store_true", help="list the modules that it was built from")
    parser.add_argument(
        "--libraries", action="store_true", help="list which operations of the catalogue bind; with -v all sites"
    )


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.judging import Judge
    from gotap.commands.main import FAILED, OK, print_error
    from gotap.commands.streams import StdoutFailed
    from gotap.errors import GotapError

    judge, failed, shown = Judge(), False, 0
    for target in arguments.targets:
        for judged in judge.targets(target):
            try:
                shown += _show(judged, arguments, first=not shown)
            except StdoutFailed:
                raise
            except GotapError as error:
                judged.error = judged.error or error
                if arguments.json:
                    _show_json(judged)
            if judged.error is not None:
                failed = True
                if not arguments.json:
                    print_error(judged.error, target)
    return FAILED if failed else OK


def _show(judged: Judged, arguments: argparse.Namespace, *, first: bool) -> bool:
    """Whether there was anything to show. Raises GotapError when a list cannot be made."""
    from gotap.commands import inspect_parts
    from gotap.commands.streams import show

    if arguments.json:
        _show_json(judged, inspect_parts.lists(judged, arguments))
        return True
    if judged.situation is None or judged.verdict is None:
        return False
    show("\n".join([*([] if first else [""]), *_text(judged, arguments)]))
    return True


def _show_json(judged: Judged, parts: Parts | None = None) -> None:
    from gotap.commands.inspect_json import line
    from gotap.commands.streams import show

    show(line(judged, parts))


def _text(judged: Judged, arguments: argparse.Namespace) -> list[str]:
    from gotap.commands import inspect_parts, inspect_text
    from gotap.commands.screen import columns

    situation, verdict = judged.situation, judged.verdict
    assert situation is not None
    assert verdict is not None
    width = columns()
    target = situation.file if situation.process is None else str(situation.process.pid)
    if inspect_parts.wanted(arguments):
        head = inspect_text.folded(f"{target}: {inspect_text.identity(situation)}", width)
        return [*head, *map(inspect_text.safe_line, inspect_parts.lines(judged, arguments))]
    if arguments.verbose:
        head = inspect_text.folded(f"{target}: {inspect_text.identity(situation)}", width)
        marks = [line for name, one in verdict.mechanisms.items()
                 for line in inspect_text.mechanism(name, one, situation, width)]  # fmt: skip
        return [*head, *marks, *inspect_text.everything(situation, verdict, width)]
    return inspect_text.summary(target, situation, verdict, width)
