"""Spans as lines of text, one a span: for a pipe, and for the list below the live table.

    15:04:05.123456 server GET /users/{id} 200 1.23ms 4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7 url.path=/u/7

Time of the end (local), kind, name, status, duration, trace id/span id, then attributes by OpenTelemetry's names; when
several processes are watched, `service.name` and `process.pid` are the first of these. The status is the response's
code or `-`; of an error `!` and its type: `!500`, `!panic`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from operator import attrgetter

import numpy as np
from msgspec import Struct

from gotap.signals.batch import Bools, Coded, Column, Ints, Same, Spans
from gotap.signals.metrics import Histogram
from gotap.sinks.durations import duration_text
from gotap.sinks.sanitize import field_value, printable
from gotap.sinks.stream import OutputFailed, Stream
from gotap.sinks.writing import Stop, never

_STATUS = "http.response.status_code"
_ERROR = "error.type"

#: What the name and the status tell already, and what is seldom asked for at a glance (docs/watch.md lists them).
HIDDEN = frozenset(
    {
        _STATUS,
        _ERROR,
        "http.request.method",
        "http.route",
        "url.scheme",
        "network.protocol.version",
        "user_agent.original",
    }
)

#: Parts of an attribute that is shown whole, if it is there.
_PARTS = {"url.full": frozenset({"url.path", "url.query"})}


class SpanLine(Struct, frozen=True):
    """One span's texts, all safe to print. `name` and `status` as in the module's docstring."""

    time: str
    kind: str
    name: str
    status: str
    is_error: bool
    duration: str
    trace_id: str
    span_id: str
    attributes: str  # `key=value key=value`, or empty
    end: int = 0  # Unix nanoseconds
    service: str = ""
    pid: str = ""

    def text(self, several: bool = False) -> str:
        """`several`: name the process, since there are others."""
        process = f"service.name={self.service} process.pid={self.pid} " if several else ""
        line = (
            f"{self.time} {self.kind} {self.name} {self.status} {self.duration} "
            f"{self.trace_id}/{self.span_id} {process}{self.attributes}"
        )
        return line.rstrip(" ")


def span_lines(spans: Spans, rows: Sequence[int]) -> list[SpanLine]:
    """The lines of the given rows; what is the same for many spans is made safe to print once."""
    chosen = np.asarray(rows, np.intp)
    if len(chosen) == 0:
        return []
    names = [printable(name) for name in spans.name.values]
    codes = _words(spans.attributes.get(_STATUS), chosen)
    errors = _words(spans.attributes.get(_ERROR), chosen)
    failed = spans.error[chosen].tolist()
    ends = spans.end[chosen].tolist()
    service, pid = (field_value(str(spans.resource.attributes.get(key, ""))) for key in ("service.name", "process.pid"))
    nanoseconds = (spans.end[chosen] - np.minimum(spans.start[chosen], spans.end[chosen])).tolist()
    trace_ids = spans.trace_id[chosen].tobytes().hex()
    span_ids = spans.span_id[chosen].tobytes().hex()
    return [
        SpanLine(
            time=time_text,
            kind=spans.output.kind,
            name=names[name],
            status=f"!{errors[i] or codes[i] or 'error'}" if failed[i] else codes[i] or "-",
            is_error=failed[i],
            duration=duration_text(nanoseconds[i] / 1e9),
            trace_id=trace_ids[32 * i : 32 * i + 32],
            span_id=span_ids[16 * i : 16 * i + 16],
            attributes=attributes + _status_beside(errors[i], codes[i], bool(attributes)),
            end=ends[i],
            service=service,
            pid=pid,
        )
        for i, (time_text, name, attributes) in enumerate(
            zip(
                _times(ends),
                spans.name.codes[chosen].tolist(),
                _attributes(spans, chosen),
                strict=True,
            )
        )
    ]


def _status_beside(error: str, code: str, follows: bool) -> str:
    """The code of an error that is called otherwise, as a word: of a panic after the header was sent, say."""
    return f"{' ' if follows else ''}{_STATUS}={code}" if error and code and error != code else ""


def _times(nanoseconds: Iterable[int]) -> Iterable[str]:
    """Local time of day to the microsecond; the conversion is done once a second of time."""
    last, prefix = -1, ""
    for value in nanoseconds:
        second, rest = divmod(value, 1_000_000_000)
        if second != last:
            last, prefix = second, time.strftime("%H:%M:%S", time.localtime(second))
        yield f"{prefix}.{rest // 1000:06}"


def _words(column: Column | None, rows: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> list[str]:
    """The column's values as safe words; empty where absent."""
    if column is None or (isinstance(column, Same) and column.value is None):
        return [""] * len(rows)
    if isinstance(column, Same):
        value = column.value
        return [field_value(value) if isinstance(value, str) else str(value).lower()] * len(rows)
    if isinstance(column, Coded):
        values = [field_value(value) for value in column.values]
        return [values[code] if code >= 0 else "" for code in column.codes[rows].tolist()]
    if isinstance(column, Ints | Bools):
        values_and_presence = zip(column.values[rows].tolist(), column.present[rows].tolist(), strict=True)
        if isinstance(column, Bools):
            return [("true" if value else "false") if present else "" for value, present in values_and_presence]
        return [str(value) if present else "" for value, present in values_and_presence]
    texts = [column.values[row] for row in rows.tolist()]
    return ["" if text is None else field_value(text.decode("utf-8", "replace")) for text in texts]


def _attributes(spans: Spans, rows: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> list[str]:
    hidden = HIDDEN.union(*(parts for whole, parts in _PARTS.items() if whole in spans.attributes))
    columns = [
        [word and f"{key}={word}" for word in _words(column, rows)]
        for key, column in spans.attributes.items()
        if key not in hidden
    ]
    if not columns:
        return [""] * len(rows)
    return [" ".join(filter(None, words)) for words in zip(*columns, strict=True)]


class Lines:
    """A sink that writes a line for every sampled span; waits for its reader until `stop` says otherwise.

    Lines are in the order of the spans' ends: those that one look at the ring finds are held until `flush`.
    """

    def __init__(self, descriptor: int = 1, name: str = "stdout", *, stop: Stop = never) -> None:
        self._stream = Stream(descriptor, name, stop=stop)
        self._held: list[SpanLine] = []
        self._lost = 0

    def export(self, spans: Spans) -> None:
        self._held += span_lines(spans, np.flatnonzero(spans.sampled).tolist())

    def flush(self, *, several: bool) -> None:
        lines, self._held = sorted(self._held, key=attrgetter("end")), []
        if not lines:
            return
        try:
            self._stream.write("".join(f"{line.text(several)}\n" for line in lines).encode("utf-8", "replace"))
        except OutputFailed:
            self._lost += len(lines)
            raise

    def export_metrics(self, histograms: Sequence[Histogram]) -> None:
        """Metrics are not for lines of spans."""

    def losses(self) -> dict[str, int]:
        return {"not written": self._lost + len(self._held)}

    def close(self, timeout: float) -> None:
        """Nothing is held back."""
