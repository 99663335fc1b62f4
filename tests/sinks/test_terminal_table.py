from __future__ import annotations

import io
import math

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from gotap.signals.red import HISTOGRAM_BOUNDS, Quantiles, RedRow
from gotap.sinks.lines import SpanLine
from gotap.sinks.table import View, compose, sparkline

BUCKETS = len(HISTOGRAM_BOUNDS) + 1


def row(name: str, *, count: int = 10, errors: int = 0, service: str = "shop", recent: float = 0.0012) -> RedRow:
    histogram = (count - 1, 0, 1) + (0,) * (BUCKETS - 3)
    return RedRow(
        service=service,
        operation="http.server",
        kind="server",
        name=name,
        count=count,
        errors=errors,
        rate=count / 10,
        error_rate=errors / 10,
        recent=Quantiles(recent, 2 * recent, 3 * recent),
        total=Quantiles(0.5, 0.6, 0.7),
        histogram=histogram,
    )


def span(name: str = "GET /a", status: str = "200") -> SpanLine:
    return SpanLine(
        "15:04:05.123456", "server", name, status, status.startswith("!"), "1.2ms", "ab" * 16, "cd" * 8, "url.path=/a"
    )


VIEW = View(
    elapsed=75,
    rows=[row("GET /users/{id}", count=50, errors=2), row("POST /日本語/{x}", count=20), row("GET /\x1b[2J\n")],
    latest=[span(f"GET /{number}") for number in range(99)] + [span("GET /last", "!panic")],
    output=[f"line {number}" for number in range(50)],
    has_pane=True,
    notices=["gotap: attached to PID 7 (shop)"],
)


def texts(view: View, width: int = 120, height: int = 40) -> list[str]:
    return [line.plain for line in compose(view, width, height)]


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 9, 10, 15, 16, 24, 60])
def test_picture_fits_every_window(width: int, height: int) -> None:
    lines = texts(VIEW, width, height)
    assert 0 < len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_narrow_windows_keep_the_errors_and_whole_words(width: int) -> None:
    busy = View(elapsed=75, rows=[row("GET /users/{id}", count=123_456, errors=29, service="checkout-service")])
    header, title = texts(busy, width)[:2]
    assert header.endswith("29 errors (0.0 %)")
    assert title.rstrip().endswith(("NAME", "NAME (last 10 s)", "NAME (rates of the last 10 s)"))
    assert ("checkout-service" in header) == (width > 60)


def test_quantiles_have_the_digits_that_they_are_good_for() -> None:
    line = texts(View(elapsed=75, rows=[row("GET", recent=0.12345)]))[2]
    assert line.split()[2:5] == ["120ms", "250ms", "370ms"]


def test_kinds_and_services_are_told_where_they_differ() -> None:
    client = msgspec.structs.replace(row("GET"), kind="client")
    rows = [row("GET /a"), client, row("PUT", service="cart")]
    latest = [msgspec.structs.replace(span(), service="cart")]
    lines = texts(View(elapsed=75, rows=rows, latest=latest), 120)
    assert lines[1].split()[-9:-6] == ["KIND", "SERVICE", "NAME"]
    assert [line.split()[-3:-1] for line in lines[2:3]] == [["shop", "GET"]]
    assert any("GET /a" in line and " cart " in line and "15:04:05" in line for line in lines)
    assert "SERVICE" not in texts(View(elapsed=75, rows=[row("GET /a"), client]), 120)[1]


def test_the_last_table_is_of_the_whole_time_and_cuts_no_name() -> None:
    long = "GET /" + "x" * 100
    lines = texts(View(elapsed=10, rows=[row(long, count=50)], final=True), 60)
    assert lines[1].split()[0] == "AVG/s"
    assert lines[1].split()[-1] == "NAME"
    assert lines[2].endswith(long)


def test_picture_fills_a_window_that_has_room() -> None:
    assert len(texts(VIEW, 120, 40)) == 40


def test_header_sums_up() -> None:
    header = texts(VIEW)[0]
    assert header.split("   ") == ["gotap", "shop", "1:15", "80 operations", "8.0/s", "2 errors (2.5 %)"]


def test_row_tells_rate_errors_and_recent_quantiles() -> None:
    title, line = texts(VIEW)[1:3]
    assert title.split()[:5] == ["RATE/s", "ERR", "P50", "P95", "P99"]
    assert line.split() == [
        "5.0",
        "4.0",
        "%",
        "1.2ms",
        "2.4ms",
        "3.6ms",
        "█",
        "▁",
        "50",
        "GET",
        "/users/{id}",
    ]


def test_columns_stand_below_their_titles() -> None:
    title, *lines = texts(VIEW)[1:5]
    at = cell_len(title[: title.index("NAME")])
    for line, name in zip(lines, ("GET /users", "POST /日", "GET /\\x1b"), strict=True):
        assert cell_len(line[: line.index(name)]) == at


def test_route_that_rests_shows_what_it_had() -> None:
    resting = row("GET /rare", recent=math.nan)
    assert "500ms" in texts(View(elapsed=5, rows=[resting]))[2]


def test_at_the_end_everything_is_of_the_whole_time() -> None:
    line = texts(View(elapsed=100, rows=[row("GET /a", count=50, errors=5)], final=True))[2]
    assert line.split()[:6] == ["0.5", "10", "%", "500ms", "600ms", "700ms"]


def test_services_get_a_column_only_if_there_are_several() -> None:
    assert "SERVICE" not in texts(VIEW)[1]
    several = texts(View(elapsed=1, rows=[row("a", service="shop"), row("b", service="stock")]))
    assert "SERVICE" in several[1]
    assert "stock" in several[3]
    assert "shop, stock" in several[0]


def test_rows_that_do_not_fit_are_counted() -> None:
    lines = texts(View(elapsed=1, rows=[row(f"GET /{number}") for number in range(40)]), 100, 20)
    shown = sum("  GET /" in line for line in lines)
    assert f"and {40 - shown} more" in "\n".join(lines)


def test_latest_span_comes_first_and_its_error_is_told_without_colour() -> None:
    lines = texts(VIEW)
    first = lines[next(number for number, line in enumerate(lines) if "latest spans" in line) + 1]
    assert first.split()[:5] == ["15:04:05.123", "!panic", "1.2ms", "GET", "/last"]


def test_output_and_messages_stand_at_the_bottom() -> None:
    lines = texts(VIEW)
    assert lines[-2:] == ["line 49", "gotap: attached to PID 7 (shop)"]


def test_nothing_yet() -> None:
    assert "no operation has ended yet" in "\n".join(texts(View(elapsed=0)))


def test_without_unicode_the_picture_is_ascii() -> None:
    view = View(elapsed=1, rows=[row("GET /a")], latest=[span()], output=["x"], has_pane=True, unicode=False)
    assert all(line.isascii() for line in texts(view))


def test_without_colour_nothing_is_lost() -> None:
    def printed(**options: object) -> str:
        out = io.StringIO()
        console = Console(file=out, width=120, height=40, force_terminal=True, **options)  # type: ignore[arg-type]
        console.print(Group(*compose(VIEW, 120, 40)))
        return out.getvalue()

    assert "\x1b[" in printed(color_system="standard")
    plain = printed(color_system=None)
    assert "\x1b[" not in plain
    assert [line.rstrip() for line in plain.splitlines()] == [line.rstrip() for line in texts(VIEW)]


def test_sparkline_shows_a_single_slow_request_and_nothing_where_nothing_was() -> None:
    assert sparkline((1000, 500, 0, 1)) == "█▄ ▁"
    assert sparkline((0, 0)) == "  "
    assert sparkline(()) == ""
    assert sparkline((8, 1), unicode=False) == "#."
