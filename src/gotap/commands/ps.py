"""List the programs that run, with the verdict on each: what can be watched, and if not, why.

  ok  can be watched        ~~  partly        no  cannot        --  could not be read

What can be watched comes first. Kernel threads are left out. `gotap inspect PID` tells more of one process.
What was read of executables is kept for the next time in ~/.cache/gotap, root's in /var/cache/gotap.
Exit code: 0; 2 for wrong usage.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.commands.judging import Judge, Judged

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
    with _judge() as judge:
        found = list(look(judge))
    if arguments.json:
        from gotap.commands.inspect_json import line

        show("\n".join(line(judged) for judged, _ in found))
        return OK
    from gotap.commands.ps_table import arranged, lines, row

    show("\n".join(lines(arranged([row(*one) for one in found]), columns())))
    return OK


class _judge:
    """A judge that takes what is in executables from the cache."""

    def __enter__(self) -> Judge:
        from gotap.commands.judging import FileFacts, Judge, read_file
        from gotap.process.facts_cache import FileCache

        self._cache = FileCache(FileFacts, "verdicts", ("image", "probe", "verdict"))
        cache = self._cache
        return Judge(lambda path, name: cache.look_up(path, lambda: read_file(path, name)))

    def __exit__(self, *_: object) -> None:
        self._cache.close()


def look(judge: Judge) -> Iterator[tuple[Judged, str]]:
    """All processes but those that end while they are looked at, each with its name."""
    from gotap.commands.judging import Judged
    from gotap.errors import GotapError
    from gotap.process.errors import ProcessGone
    from gotap.process.listing import list_processes

    for process in list_processes():
        name = "?"
        try:
            name = process.comm
            yield judge.running(str(process.pid), process, inside=False), name
        except ProcessGone:
            continue
        except GotapError as error:
            yield Judged(str(process.pid), error=error, pid=process.pid), name


def _watch() -> None:
    """The list on the whole screen, until ^C."""
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from gotap.commands.ps_table import arranged, lines, row

    console = Console(highlight=False)

    def picture() -> Text:
        rows = arranged([row(*one) for one in look(judge)])
        told = lines(rows, console.width)
        if len(told) > console.height:
            told = [*told[: console.height - 1], f"and {len(told) - console.height + 1} more"]
        return Text("\n".join(told), no_wrap=True, overflow="crop")

    with _judge() as judge, Live(picture(), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(_PERIOD)
                live.update(picture(), refresh=True)
        except KeyboardInterrupt:
            return
