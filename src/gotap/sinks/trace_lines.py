"""Events of `gotap trace` as text: a line a call, what printf and print say, maps.

    15:04:05.123456 g7    main.prepareAnswer(name="tigre", year=2021, status=200) = "…"  1.23ms
    15:04:05.123502 g7    main.checkSite(url="http://…") ! panic  310µs

Local time of the event (of a call's end), goroutine (`t` and the thread's id where there is none), the call with its
arguments, its results, how long it took. Nothing of the program's can steer the terminal.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence

from gotap.probe.script.bound import EventKind
from gotap.probe.script.routine import Ended
from gotap.signals.events import Events, Field
from gotap.signals.maps import MapResult, to_text
from gotap.signals.trace_format import print_texts, printf_texts
from gotap.signals.trace_values import as_operand, stack_text
from gotap.sinks.lines import duration_text
from gotap.sinks.sanitize import printable

#: Probes that sit at a function as such: what they tell begins with the function's name.
_ELSEWHERE = re.compile(r"(?:begin|end|interval|profile|goroutine|syscall|tracepoint|uprobe)\b|.*\.(?:go|s):\d+$")


class Colours:
    """SGR codes (ECMA-48), or none."""

    def __init__(self, wanted: bool) -> None:
        self.dim, self.bold, self.red, self.yellow, self.cyan, self.end = (
            ("\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[0m") if wanted else ("",) * 6
        )


class TraceLines:
    """Renders; each text ends its line, but for what printf leaves open."""

    def __init__(self, *, colour: bool = False, width: int = 0) -> None:
        """`width`: of the terminal, for bars; 0: there is none."""
        self._width = width
        self._colours = Colours(colour)
        self._clock = _clock()

    def events(self, events: Events) -> list[str]:
        """One text for each event."""
        match events.spec.kind:
            case EventKind.PRINTF:
                return printf_texts(events, printable)
            case EventKind.PRINT:
                return print_texts(events, printable)
            case _:
                return list(self._calls(events))

    def map(self, result: MapResult) -> str:
        """The whole map, whose lines end with an empty one."""
        return to_text(result, printable, self._width)

    def _calls(self, events: Events) -> Iterator[str]:
        dim, end = self._colours.dim, self._colours.end
        whos = zip(map(self._clock, events.time), _who(events), strict=True)
        heads = [f"{dim}{text} {who:<5}{end} " for text, who in whos]
        names = self._names(events)
        arguments = _operands(events.fields)
        outcomes = self._outcomes(events)
        bare = not events.fields and bool(_ELSEWHERE.match(events.spec.probe))
        for row, (head, name, outcome) in enumerate(zip(heads, names, outcomes, strict=True)):
            operands = "" if bare else f"({', '.join(one[row] for one in arguments)})"
            sampled = f" {dim}(1 of {events.weight[row]}){end}" if events.weight[row] > 1 else ""
            stack = "" if events.stack is None else stack_text(events.stack[row], printable)
            yield f"{head}{name}{operands}{outcome}{sampled}{stack}\n"

    def _names(self, events: Events) -> Iterator[str]:
        bold, end = self._colours.bold, self._colours.end
        probe = printable(events.spec.probe)
        other = _ELSEWHERE.match(probe)
        for function in events.function:
            if other and function:
                yield f"{probe} {bold}{printable(function)}{end}"
            else:
                yield f"{bold}{printable(function or probe)}{end}"

    def _outcomes(self, events: Events) -> Iterator[str]:
        """What follows the arguments: results or how else it ended, and the time it took."""
        one = self._colours
        results = _operands(events.results, named=len(events.results) > 1)
        latencies = events.latency or [0] * len(events)
        for row, ended in enumerate(events.ended):
            if ended == Ended.OPEN:
                yield ""
                continue
            took = f"  {one.cyan}{duration_text(latencies[row] / 1e9)}{one.end}" if events.latency else ""
            if ended != Ended.RETURN:
                yield f" {one.red}! {Ended(ended).name.lower()}{one.end}{took}"
            elif not results:
                yield took
            elif len(results) == 1:
                yield f" = {results[0][row]}{took}"
            else:
                yield f" = ({', '.join(result[row] for result in results)}){took}"


def _who(events: Events) -> list[str]:
    return [f"g{goid}" if goid else f"t{tid}" for goid, tid in zip(events.goid, events.tid, strict=True)]


def _operands(fields: Sequence[Field], named: bool = True) -> list[list[str]]:
    """The texts of each field; unnamed parameters and results (`~r0`) go without a name."""
    texts = []
    for field in fields:
        name = f"{field.name}=" if named and not re.match(r"~[ar]\d", field.name) else ""
        texts.append([name + as_operand(field.part, value, printable) for value in field.values])
    return texts


def _clock() -> Callable[[int], str]:
    """Unix ns → local time of day to the microsecond; the conversion is done once a second of time."""
    last, prefix = -1, ""

    def text(nanoseconds: int) -> str:
        nonlocal last, prefix
        second, rest = divmod(nanoseconds, 1_000_000_000)
        if second != last:
            last, prefix = second, time.strftime("%H:%M:%S", time.localtime(second))
        return f"{prefix}.{rest // 1000:06}"

    return text
