"""List the programs that run, with the verdict on each: what can be watched, and if not, why.

  ok  can be watched        ~~  partly        no  cannot        --  could not be read

What can be watched comes first. Kernel threads are left out. `gotap inspect PID` tells more of one process.
What was read of executables is kept for the next time in ~/.cache/gotap, root's in /var/cache/gotap.
Exit code: 0; 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.commands.judging import Judge
    from gotap.commands.ps_table import Row

#: Seconds between two looks of --watch.
_PERIOD = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--json", action="store_true", help="one JSON object for each process, on one line, as `gotap inspect --json`"
    )
    how.add_argument("--watch", action="store_true", help="look again every two seconds, until ^C; needs a terminal")


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.main import OK, USAGE
    from gotap.commands.screen import columns
    from gotap.commands.streams import say, show

    if arguments.watch:
        if not columns():
            say("--watch needs a terminal on stdout", "leave out --watch, or give --json to programs")
            return USAGE
        _watch()
        return OK
    with judging() as judge:
        if arguments.json:
            _show_json(judge)
        else:
            from gotap.commands.ps_table import lines

            show("\n".join(lines(rows(judge), columns())))
    return OK


@contextmanager
def judging() -> Iterator[Judge]:
    """A judge that takes what is in executables from the cache."""
    from gotap.commands.judging import FileFacts, Judge, read_file
    from gotap.process.facts_cache import FileCache

    cache = FileCache(FileFacts, "verdicts", ("image", "inject", "probe", "verdict"))
    try:
        yield Judge(lambda path, name: cache.look_up(path, lambda: read_file(path, name)))
    finally:
        cache.close()


def rows(judge: Judge) -> list[Row]:
    """All processes but those that end while they are looked at, in the order of the list."""
    from gotap.commands.ps_table import arranged, row, unreadable
    from gotap.errors import GotapError
    from gotap.process.errors import ProcessGone
    from gotap.process.listing import list_processes

    found = []
    for process in list_processes():
        try:
            found.append(row(judge.glance(process)))
        except ProcessGone:
            continue
        except GotapError as error:
            with suppress(ProcessGone):
                found.append(unreadable(process.pid, process.comm, error))
    return arranged(found)


def _show_json(judge: Judge) -> None:
    from gotap.commands.inspect_json import line
    from gotap.commands.judging import Judged
    from gotap.commands.streams import StdoutFailed, show
    from gotap.errors import GotapError
    from gotap.process.errors import ProcessGone
    from gotap.process.listing import list_processes

    for process in list_processes():
        target = str(process.pid)
        try:
            show(line(judge.running(target, process, inside=False)))
        except ProcessGone:
            continue
        except StdoutFailed:
            raise
        except GotapError as error:
            show(line(Judged(target, error=error, pid=process.pid)))


def _watch() -> None:
    """The list on the whole screen, until ^C; the screen is given back in any case."""
    import signal
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from gotap.commands.ps_table import lines

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console(highlight=False)

    def picture() -> Text:
        told = lines(rows(judge), console.width)
        if len(told) > console.height:
            told = [*told[: console.height - 1], f"and {len(told) - console.height + 1} more"]
        return Text("\n".join(told), no_wrap=True, overflow="crop")

    with (
        suppress(KeyboardInterrupt),
        judging() as judge,
        Live(picture(), console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(_PERIOD)
            live.update(picture(), refresh=True)
