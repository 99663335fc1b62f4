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
from typing import TYPE_CHECKING

from gotap.probe.script.bound import EventKind
from gotap.probe.script.routine import Ended
from gotap.signals.events import Events, Field
from gotap.signals.trace_format import print_texts, printf_texts
from gotap.signals.trace_values import as_operand, stack_text
from gotap.sinks.durations import duration_text
from gotap.sinks.sanitize import printable

if TYPE_CHECKING:
    from gotap.signals.maps import MapResult

#: Probes that sit at a function as such: what they tell begins with the function's name.
_ELSEWHERE = re.compile(r"(?:begin|end|interval|profile|goroutine|syscall|tracepoint|uprobe)\b|.*\.(?:go|s):\d+$")

#: Characters of one argument in a call's line: more are counted, since nobody reads them.
LONGEST = 240
#: All of them.
WHOLE = 1 << 30


class Colours:
    """SGR codes (ECMA-48), or none."""

    def __init__(self, wanted: bool) -> None:
        self.dim, self.bold, self.red, self.yellow, self.cyan, self.end = (
            ("\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[0m") if wanted else ("",) * 6
        )


class TraceLines:
    """Renders; each text ends its line, but for what printf leaves open."""

    def __init__(self, *, colour: bool = False, width: int = 0, longest: int = LONGEST) -> None:
        """`width`: of the terminal, for bars; 0: there is none. `longest`: characters of an argument or result."""
        self._width = width
        self._longest = longest
        self._colours = Colours(colour)
        self._clock = _clock()
        self._latest: _Calls | None = None  # of the batch that was asked about last

    def events(self, events: Events) -> list[str]:
        """One text for each event."""
        match events.spec.kind:
            case EventKind.PRINTF:
                return printf_texts(events, printable)
            case EventKind.PRINT:
                return [f"{text}\n" for text in print_texts(events, printable)]
            case _:
                return list(self._calls(events))

    def map(self, result: MapResult) -> str:
        """The whole map, whose lines end with an empty one."""
        from gotap.signals.maps import to_text

        return to_text(result, printable, self._width)

    def _calls(self, events: Events) -> Iterator[str]:
        dim, end = self._colours.dim, self._colours.end
        calls = _Calls(events, self._longest, self._colours)
        for row, moment in enumerate(events.time):
            sampled = f" {dim}(1 of {events.weight[row]}){end}" if events.weight[row] > 1 else ""
            stack = "" if events.stack is None else stack_text(events.stack[row], printable)
            yield f"{self.head(events, row, moment)}{calls.texts[row]}{calls.outcomes[row]}{sampled}{stack}\n"

    def call(self, events: Events, row: int) -> tuple[str, str]:
        """Texts of one call: its name with the arguments, and what follows at its end."""
        calls = self._latest
        if calls is None or calls.events is not events:
            calls = self._latest = _Calls(events, self._longest, self._colours)
        return calls.texts[row], calls.outcomes[row]

    def head(self, events: Events, row: int, moment: int) -> str:
        """What a line begins with: the moment, in Unix ns, and who."""
        goid = events.goid[row]
        who = f"g{goid}" if goid else f"t{events.tid[row]}"
        return f"{self._colours.dim}{self._clock(moment)} {who:<5}{self._colours.end} "


class _Calls:
    """What is said of each call of a batch."""

    def __init__(self, events: Events, longest: int, colours: Colours) -> None:
        self.events = events
        self._colours = colours
        self.texts = self._texts(_operands(events.fields, longest))
        self.outcomes = list(self._outcomes(_operands(events.results, longest, named=len(events.results) > 1)))

    def _texts(self, arguments: Sequence[Sequence[str]]) -> list[str]:
        """Names with arguments."""
        events = self.events
        probe = printable(events.spec.probe)
        elsewhere = bool(_ELSEWHERE.match(probe))
        names = {function: self._name(function, probe, elsewhere) for function in set(events.function)}
        if not arguments:
            brackets = "" if elsewhere else "()"
            return [names[function] + brackets for function in events.function]
        rows = zip(events.function, *arguments, strict=True)
        return [f"{names[function]}({', '.join(texts)})" for function, *texts in rows]

    def _name(self, function: str, probe: str, elsewhere: bool) -> str:
        name = f"{self._colours.bold}{printable(function) or probe}{self._colours.end}"
        return f"{probe} {name}" if elsewhere and function else name

    def _outcomes(self, results: Sequence[Sequence[str]]) -> Iterator[str]:
        """What follows the arguments: results or how else it ended, and the time it took."""
        one, latency = self._colours, self.events.latency
        for row, ended in enumerate(self.events.ended):
            if ended == Ended.OPEN:
                yield ""
                continue
            took = f"  {one.cyan}{duration_text(latency[row] / 1e9)}{one.end}" if latency else ""
            if ended != Ended.RETURN:
                yield f" {one.red}! {Ended(ended).name.lower()}{one.end}{took}"
            elif not results:
                yield took
            elif len(results) == 1:
                yield f" = {results[0][row]}{took}"
            else:
                yield f" = ({', '.join([texts[row] for texts in results])}){took}"


def _operands(fields: Sequence[Field], longest: int, *, named: bool = True) -> list[list[str]]:
    """The texts of each field; unnamed parameters and results (`~r0`) go without a name."""
    texts = []
    for field in fields:
        name = f"{printable(field.name)}=" if named and not re.match(r"~[ar]\d", field.name) else ""
        texts.append([name + _cut(as_operand(field.part, value, printable), longest) for value in field.values])
    return texts


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…(+{len(text) - longest})"


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
