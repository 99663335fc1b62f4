"""Where events and maps go: as text, as JSON, to a collector."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gotap.commands.ends import Signals
from gotap.commands.screen import columns
from gotap.commands.trace.options import destinations
from gotap.probe.script.bound import EventKind
from gotap.signals.events import Events
from gotap.sinks.stream import Stream

if TYPE_CHECKING:
    from gotap.commands.trace.graph import Graph, TreeRenderer
    from gotap.signals.batch import Resource
    from gotap.signals.maps import MapResult

#: An event of a drain: the number of its batch, and its row there.
Moment = tuple[int, int]


#: What events say by themselves.
SHOWN = frozenset((EventKind.CALL, EventKind.PRINTF, EventKind.PRINT))


class Renderer(Protocol):
    """Makes texts of events and maps, each one or more whole lines, but for what printf leaves open."""

    def events(self, events: Events) -> Sequence[str | bytes]: ...

    def map(self, result: MapResult) -> str | bytes: ...


class Output(Protocol):
    """Takes what one look at the ring has found. Raises GotapError, once, when it cannot go on."""

    def take(self, batches: Sequence[Events], moments: Sequence[Moment], maps: Mapping[Moment, MapResult]) -> None:
        """`moments` in their order, those that are to be shown; `maps`: of those that print a map."""
        ...

    def maps(self, results: Sequence[MapResult]) -> None:
        """Maps at the end."""
        ...

    def losses(self) -> Mapping[str, int]: ...

    def close(self, timeout: float) -> None: ...


@runtime_checkable
class Refreshed(Protocol):
    """An output that wants to know now and then what maps hold."""

    def is_due(self, now: float) -> bool:
        """Whether it wants that at this time.monotonic(); then not before its interval is over again."""
        ...


class Printed:
    """Writes lines as they come."""

    def __init__(self, renderer: Renderer, stream: Stream) -> None:
        self._renderer = renderer
        self._stream = stream
        self._open_line = False

    def take(self, batches: Sequence[Events], moments: Sequence[Moment], maps: Mapping[Moment, MapResult]) -> None:
        texts = [self._renderer.events(batch) if batch.spec.kind in SHOWN else () for batch in batches]
        self.write(
            [
                (self._renderer.map(maps[moment]), True)
                if moment in maps
                else (texts[moment[0]][moment[1]], batches[moment[0]].spec.kind is not EventKind.PRINTF)
                for moment in moments
            ]
        )

    def maps(self, results: Sequence[MapResult]) -> None:
        self.write([(self._renderer.map(result), True) for result in results])

    def losses(self) -> Mapping[str, int]:
        return {}

    def close(self, timeout: float) -> None:
        self._stream.close()

    def write(self, texts: Sequence[tuple[str | bytes, bool]]) -> None:
        """Each with whether it begins a line: printf may have left one open."""
        parts: list[bytes] = []
        for text, begins in texts:
            content = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
            if begins and self._open_line:
                parts.append(b"\n")
            if content:
                self._open_line = not content.endswith(b"\n")
                parts.append(content)
        if parts:
            self._stream.write(b"".join(parts))


def open_outputs(
    arguments: argparse.Namespace, signals: Signals, resource: Callable[[], Resource], plan: Graph | None = None
) -> list[Output]:
    """One output for each destination; what it needs is loaded when it is asked for. Raises OutputFailed.

    `plan`: of --graph.
    """

    def stop() -> bool:
        return bool(signals.received)

    outputs: list[Output] = []
    for destination in destinations(arguments):
        if destination == "otlp":
            from gotap.commands.trace.exported import open_exported

            outputs.append(open_exported(resource(), plan))
        elif destination == "terminal":
            outputs.append(_terminal(Stream.stdout(stop), plan, whole=arguments.verbose))
        else:
            from gotap.sinks.trace_json import TraceJson

            stream = Stream.stdout(stop) if destination == "json" else Stream.file(destination, stop)
            outputs.append(Printed(TraceJson(), stream) if plan is None else _trees(TraceJson(), stream, plan))
    return outputs


def _terminal(stream: Stream, plan: Graph | None, *, whole: bool) -> Output:
    from gotap.sinks.trace_lines import LONGEST, WHOLE, TraceLines

    colour = os.isatty(1) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width, longest = columns(), WHOLE if whole else LONGEST
    if plan is None:
        return Printed(TraceLines(colour=colour, width=width, longest=longest), stream)
    from gotap.sinks.trace_graph import SHORTER, TraceGraph

    return _trees(TraceGraph(colour=colour, width=width, longest=WHOLE if whole else SHORTER), stream, plan)


def _trees(renderer: TreeRenderer, stream: Stream, plan: Graph) -> Output:
    from gotap.commands.trace.graph import GraphPrinted

    return GraphPrinted(renderer, stream, plan)
