"""The terminal as a sink: a live RED table above the latest spans, or, when piped, one line a span."""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live

from gotap.signals.batch import Spans
from gotap.signals.metrics import Histogram
from gotap.signals.red import RedTable
from gotap.sinks.lines import Lines, SpanLine, span_lines
from gotap.sinks.sanitize import LineFeed, printable
from gotap.sinks.sink import Sink
from gotap.sinks.stream import OutputFailed
from gotap.sinks.table import View, compose
from gotap.sinks.writing import Stop, never

#: Seconds between two pictures: an eye follows no more, and painting costs some milliseconds.
_INTERVAL = 0.5

#: Spans kept for the list, more than a window has lines.
_LATEST = 100

#: Lines of the program's output that are kept, and printed again when the table is gone.
_OUTPUT = 200


def is_live() -> bool:
    """Whether stdout is a terminal on which a table can stand."""
    try:
        return os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:
        return False


def open_terminal(*, pane: bool = False, stop: Stop = never) -> Sink:
    """The live table on a terminal, lines elsewhere, which wait for their reader until `stop`.

    `pane`: the table has room for a program's output.
    """
    return LiveTable(pane=pane) if is_live() else Lines(stop=stop)


class LiveTable:
    """A sink that paints from a thread of its own and on the alternate screen, from the first span or output on.

    Meanwhile messages for a stderr on the same terminal are shown below the table. At the end the screen is as it was
    before, and the last table, the messages and the program's last output are printed on it, to stay.
    """

    def __init__(self, console: Console | None = None, *, pane: bool = False) -> None:
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._pane = pane
        self._red = RedTable()
        self._latest: deque[SpanLine] = deque(maxlen=_LATEST)
        self._held: list[SpanLine] = []  # until `flush`
        self._output: deque[str] = deque(maxlen=_OUTPUT)
        self._feed = LineFeed()
        self._notices = _Notices()
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._failure: OSError | None = None
        self._stderr: TextIO | None = None
        self._started = self._closed = False

    # -- what comes in, from the session's thread -----------------------------------------------------------------

    def export(self, spans: Spans) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise OutputFailed(f"cannot write to the terminal: {failure.strerror or failure}")
        self._red.add(spans)
        sampled = spans.sampled.nonzero()[0]
        self._held += span_lines(spans, sampled[-_LATEST:].tolist())
        self.start()

    def flush(self, *, several: bool) -> None:
        """Lists what has come in the order of the ends. Which services there are, the table knows by itself."""
        held, self._held = sorted(self._held, key=attrgetter("end")), []
        self._latest.extend(held)

    def export_metrics(self, histograms: Sequence[Histogram]) -> None:
        """The table has its own, of finer quantiles."""

    def watch_output(self, descriptor: int) -> None:
        """Shows what comes from a program's pane until its end, read by a thread so that the program never waits."""
        self._pane = True
        thread = threading.Thread(target=self._read_output, args=(os.dup(descriptor),), daemon=True)
        self._threads.append(thread)
        thread.start()
        self.start()

    def start(self) -> None:
        """Takes the screen, if that has not happened."""
        if self._started or self._closed:
            return
        self._started = True
        if sys.stderr is not None and sys.stderr.isatty():
            self._stderr, sys.stderr = sys.stderr, self._notices
        atexit.register(self.close)
        thread = threading.Thread(target=self._paint_until_stopped, daemon=True)
        self._threads.append(thread)
        thread.start()

    def losses(self) -> dict[str, int]:
        return {}

    def close(self, timeout: float = 1.0) -> None:
        if self._closed:
            return
        self._closed = True
        self._stopping.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        if self._stderr is not None:
            sys.stderr = self._stderr
        if not self._started:
            return
        atexit.unregister(self.close)
        self._leave()

    # -- painting -------------------------------------------------------------------------------------------------

    def view(self, *, final: bool = False) -> View:
        """What is to be seen now."""
        open_line = self._feed.open_line
        return View(
            elapsed=time.monotonic() - self._began,
            rows=self._red.rows(),
            latest=list(self._latest),
            output=[*self._output, open_line] if open_line else list(self._output),
            has_pane=self._pane,
            notices=self._notices.lines(),
            window=self._red.window,
            unicode=self._console.encoding.startswith("utf"),
            final=final,
        )

    def _picture(self) -> Group:
        size = self._console.size
        return Group(*compose(self.view(), size.width, size.height))

    def _paint_until_stopped(self) -> None:
        try:
            with Live(
                console=self._console,
                screen=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            ) as live:
                while True:
                    live.update(self._picture(), refresh=True)
                    if self._stopping.wait(_INTERVAL):
                        return
        except OSError as error:  # the terminal is gone
            self._failure = error

    def _leave(self) -> None:
        """Prints what is to stay: the table, then on stderr what stood below it."""
        view = self.view(final=True)
        try:
            if view.rows:
                height = len(view.rows) + 2
                last = View(view.elapsed, view.rows, unicode=view.unicode, final=True)
                for line in compose(last, self._console.size.width, height):
                    line.rstrip()
                    self._console.print(line, soft_wrap=True)
            for text in (*view.output, *self._notices.lines()):
                print(text, file=sys.stderr)
        except OSError:
            return

    def _read_output(self, descriptor: int) -> None:
        """Until the last writer is gone (EIO); after the end of the table what is there already, and no more."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        try:
            while poll.poll(100) or not self._stopping.is_set():
                try:
                    content = os.read(descriptor, 65536)
                except BlockingIOError:
                    continue
                if not content:
                    return
                self._output.extend(self._feed.feed(content))
        except OSError:
            return
        finally:
            os.close(descriptor)


class _Notices(io.TextIOBase):
    """Stands in for a stderr on the table's terminal."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_OUTPUT)
        self._open = ""

    def write(self, text: str) -> int:
        *lines, self._open = (self._open + text).split("\n")
        self._lines.extend(printable(line) for line in lines)
        return len(text)

    def lines(self) -> list[str]:
        return [*self._lines, printable(self._open)] if self._open else list(self._lines)
