"""The picture of the live table: what is known now, as lines of exactly the window's width and height. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gotap.signals.red import HISTOGRAM_BOUNDS, Quantiles, RedRow
from gotap.sinks.durations import duration_text
from gotap.sinks.lines import SpanLine
from gotap.sinks.sanitize import printable

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = ".:-=+*%#"

#: Below this height there is room for the table only.
_SMALLEST_WITH_SPANS = 10
_LONGEST_NAME = 48


class View(Struct, frozen=True):
    """What is known at one moment. All texts but those of `rows` are safe to print.

    `final`: at the end, rates and quantiles are of the whole time instead of the last seconds.
    """

    elapsed: float  # seconds
    rows: Sequence[RedRow] = ()
    latest: Sequence[SpanLine] = ()  # oldest first
    output: Sequence[str] = ()  # lines of the program that `run` started, oldest first
    has_pane: bool = False
    notices: Sequence[str] = ()  # gotap's own messages
    window: int = 10  # seconds that rates look back
    unicode: bool = True
    final: bool = False


class _Column(Struct, frozen=True):
    """`needs`: the least width of the window at which the column is shown."""

    title: str
    width: int
    cell: Callable[[RedRow, View], tuple[str, str]]  # text, style
    needs: int = 0
    left: bool = False


def compose(view: View, width: int, height: int) -> list[Text]:
    """`height` lines at most, none wider than `width`: header, RED table, latest spans, the program's output."""
    lines = [_header(view, width)]
    rest = height - 1
    notices = list(view.notices)[-2:] if height >= _SMALLEST_WITH_SPANS else []
    rest -= len(notices)
    pane = min(max(3, height // 4), max(1, len(view.output))) + 1 if view.has_pane and height >= 16 else 0
    spans_least = 4 if height >= _SMALLEST_WITH_SPANS and not view.final else 0
    table = _table(view, width, rest - pane - spans_least)
    lines += table
    rest -= len(table)
    if spans_least:
        lines += _latest(view, width, rest - pane)
    if pane:
        lines += [_rule("output", width, view.unicode)]
        lines += [Text(_fit(line, width)) for line in list(view.output)[-(pane - 1) :]]
    lines += [Text(_fit(notice, width), style="yellow") for notice in notices]
    return lines[: max(height, 0)]


def _header(view: View, width: int) -> Text:
    count, errors = sum(row.count for row in view.rows), sum(row.errors for row in view.rows)
    rate = count / max(view.elapsed, 1e-9) if view.final else sum(row.rate for row in view.rows)
    services = sorted({printable(row.service) for row in view.rows if row.service})
    who = ", ".join(services[:3]) + (f" and {len(services) - 3} more" if len(services) > 3 else "")
    minutes, seconds = divmod(int(view.elapsed), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    share = f" ({100 * errors / count:.1f} %)" if errors else ""
    counted = f"{count:,} operation{'' if count == 1 else 's'}"
    failed = f"{errors:,} error{'' if errors == 1 else 's'}{share}"
    parts = [part for part in ("gotap", who, clock, counted, f"{_rate(rate)}/s", failed) if part]
    text = Text(_fit(_header_text(parts, width), width), style="bold")
    if errors:
        text.highlight_words([failed], "red")
    return text


def _header_text(parts: Sequence[str], width: int) -> str:
    """The parts with as much room as there is between them; in narrow windows without the first ones."""
    roomy = "   ".join(parts)
    if cell_len(roomy) <= width:
        return roomy
    for first in range(len(parts)):
        text = "  ".join(parts[first:])
        if cell_len(text) <= width:
            break
    return text


# -- the RED table ------------------------------------------------------------------------------------------------


def _table(view: View, width: int, room: int) -> list[Text]:
    """At most `room` lines with its title; what does not fit is counted in the last one."""
    if room < 2:
        return []
    columns = [column for column in _columns(view) if width >= column.needs]
    lines = [_title(columns, view, width)]
    shown = list(view.rows) if len(view.rows) <= room - 1 else list(view.rows)[: room - 2]
    lines += [_row(row, columns, view, width) for row in shown]
    if not view.rows:
        lines.append(Text(_fit("  no operation has ended yet", width), style="dim"))
    elif len(shown) < len(view.rows):
        more = len(view.rows) - len(shown)
        lines.append(Text(_fit(f"  and {more} more", width), style="dim"))
    return lines


def _columns(view: View) -> list[_Column]:
    def rate(row: RedRow, view: View) -> tuple[str, str]:
        return _rate(row.count / max(view.elapsed, 1e-9) if view.final else row.rate), ""

    def errors(row: RedRow, view: View) -> tuple[str, str]:
        if view.final:
            part, whole = float(row.errors), float(row.count)
        else:
            part, whole = row.error_rate, row.rate
        if not part:
            return ("-", "dim") if not row.errors else ("0 %", "")
        return _percent(part / whole), "bold red"

    def quantile(pick: Callable[[Quantiles], float]) -> Callable[[RedRow, View], tuple[str, str]]:
        def cell(row: RedRow, view: View) -> tuple[str, str]:
            recent = pick(row.total if view.final else row.recent)
            return (_quantile(recent), "") if not math.isnan(recent) else (_quantile(pick(row.total)), "dim")

        return cell

    def histogram(row: RedRow, view: View) -> tuple[str, str]:
        return sparkline(row.histogram, view.unicode), "cyan"

    counts = max((len(f"{row.count:,}") for row in view.rows), default=0)
    columns = [
        _Column("AVG/s" if view.final else "RATE/s", 8, rate),
        _Column("ERR", 6, errors),
        _Column("P50", 5, quantile(lambda q: q.p50), needs=50),
        _Column("P95", 5, quantile(lambda q: q.p95), needs=60),
        _Column("P99", 5, quantile(lambda q: q.p99), needs=36),
        _Column(".5ms       >10s", len(HISTOGRAM_BOUNDS) + 1, histogram, needs=84, left=True),
        _Column("COUNT", max(counts, len("COUNT")), lambda row, _: (f"{row.count:,}", ""), needs=72),
    ]
    if len({row.kind for row in view.rows}) > 1:
        columns.append(_Column("KIND", 8, lambda row, _: (row.kind, "dim"), needs=64, left=True))
    if len(_services(view)) > 1:
        columns.append(_Column("SERVICE", _service_width(view), lambda row, _: (printable(row.service), ""), 100, True))
    return columns


def _services(view: View) -> set[str]:
    return {row.service for row in view.rows}


def _service_width(view: View) -> int:
    longest = max(cell_len(printable(service)) for service in _services(view))
    return max(len("SERVICE"), min(longest, 20))


def _quantile(seconds: float) -> str:
    """Two digits: more would be invented, for a quantile is up to 4.5 % off."""
    return duration_text(seconds if math.isnan(seconds) else float(f"{seconds:.2g}"))


def _title(columns: Sequence[_Column], view: View, width: int) -> Text:
    line = Text(style="bold reverse")
    for column in columns:
        line.append(_cell(column.title, column))
    room = width - cell_len(line.plain)
    names = ["NAME", f"NAME (last {view.window} s)", f"NAME (rates of the last {view.window} s)"]
    line.append(names[0] if view.final else max((name for name in names if len(name) <= room), key=len, default=""))
    return _cropped(line, width, pad=True)


def _row(row: RedRow, columns: Sequence[_Column], view: View, width: int) -> Text:
    line = Text()
    for column in columns:
        text, style = column.cell(row, view)
        line.append(_cell(text, column), style)
    line.append(printable(row.name))
    return line if view.final else _cropped(line, width)  # at the end it may go on in the next line


def _cell(text: str, column: _Column) -> str:
    """The cell and two blanks."""
    if column.left:
        return set_cell_size(text, column.width) + "  "
    return " " * max(column.width - cell_len(text), 0) + text + "  "


def sparkline(counts: Sequence[int], unicode: bool = True) -> str:
    """One character a bucket, relative to the fullest; a blank for none, so that a single slow request shows."""
    blocks = _BLOCKS if unicode else _ASCII_BLOCKS
    most = max(counts, default=0)
    return "".join(blocks[max(math.ceil(count / most * len(blocks)) - 1, 0)] if count else " " for count in counts)


def _rate(rate: float) -> str:
    if rate >= 100_000:
        return f"{rate / 1000:,.0f}k"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{max(100 * share, 0.1):.1f} %"


# -- spans and output ---------------------------------------------------------------------------------------------


def _latest(view: View, width: int, room: int) -> list[Text]:
    if room < 2:
        return []
    lines = [_rule("latest spans", width, view.unicode)]
    shown = list(view.latest)[-(room - 1) :]
    status = max((cell_len(span.status) for span in shown), default=0)
    name = min(max((cell_len(span.name) for span in shown), default=0), _LONGEST_NAME)
    service = _service_width(view) if width >= 100 and len(_services(view)) > 1 else 0
    for span in reversed(shown):
        line = Text(f"{span.time[:-3]}  ", style="")
        line.append(set_cell_size(span.status, min(status, 24)) + "  ", "bold red" if span.is_error else "green")
        line.append(f"{span.duration:>7}  ")
        line.append(set_cell_size(span.name, name) + "  ", "bold")
        if service:
            line.append(set_cell_size(span.service, service) + "  ", "dim")
        if width >= 100:
            line.append(f"{span.trace_id[:8]}  ", "dim")
        line.append(span.attributes, "dim")
        lines.append(_cropped(line, width))
    lines += [Text()] * (room - len(lines))
    return lines


def _rule(title: str, width: int, unicode: bool) -> Text:
    dash = "─" if unicode else "-"
    return Text(_fit(f"{dash * 2} {title} {dash * width}", width), style="dim")


def _fit(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width)


def _cropped(line: Text, width: int, *, pad: bool = False) -> Text:
    line.truncate(width, overflow="crop", pad=pad)
    line.no_wrap = True
    return line
