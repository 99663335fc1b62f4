"""Draws docs/images/terminal.svg, the live table as README shows it, from made-up operations; the same at every run.

    python docs/screenshot.py
"""

from __future__ import annotations

import io
import math
import random
from pathlib import Path

import numpy as np
from rich.console import Console

from gotap.signals.red import HISTOGRAM_BOUNDS, Quantiles, RedRow
from gotap.sinks.lines import SpanLine, duration_text
from gotap.sinks.table import View, compose

#: Name, kind, rate per second, share of errors, median in seconds.
ROUTES = (
    ("GET /products/{id}", "server", 182.4, 0.0, 0.0011),
    ("GET /products", "server", 96.1, 0.004, 0.0047),
    ("POST /orders", "server", 41.7, 0.021, 0.018),
    ("GET", "client", 41.7, 0.017, 0.012),
    ("GET /orders/{id}", "server", 22.9, 0.0, 0.0026),
    ("DELETE /carts/{id}", "server", 3.2, 0.12, 0.0008),
)
SECONDS = 372
WIDTH, HEIGHT = 118, 24


def row(name: str, kind: str, rate: float, errors: float, median: float, rng: np.random.Generator) -> RedRow:
    durations = rng.lognormal(math.log(median), 0.7, int(rate * SECONDS))
    buckets = np.bincount(np.searchsorted(HISTOGRAM_BOUNDS, durations), minlength=len(HISTOGRAM_BOUNDS) + 1)
    quantiles = Quantiles(*np.quantile(durations, (0.5, 0.95, 0.99)).tolist())
    return RedRow(
        service="shop",
        operation=f"http.{kind}",
        kind=kind,
        name=name,
        count=len(durations),
        errors=round(errors * len(durations)),
        rate=rate,
        error_rate=errors * rate,
        recent=quantiles,
        total=quantiles,
        histogram=tuple(buckets.tolist()),
    )


def span(number: int, choose: random.Random) -> SpanLine:
    name, kind, _, errors, median = choose.choices(ROUTES, [route[2] for route in ROUTES])[0]
    failed = choose.random() < 4 * errors
    path = name.partition(" ")[2].replace("{id}", str(choose.randrange(1000, 9999)))
    where = f"url.path={path} client.address=10.0.3.{choose.randrange(2, 40)}"
    return SpanLine(
        time=f"14:22:{30 + number // 9:02}.{choose.randrange(1_000_000):06}",
        kind=kind,
        name=name,
        status=choose.choice(("!500", "!timeout" if kind == "client" else "!panic")) if failed else "200",
        is_error=failed,
        duration=duration_text(choose.lognormvariate(math.log(median), 0.7)),
        trace_id=f"{choose.getrandbits(128):032x}",
        span_id=f"{choose.getrandbits(64):016x}",
        attributes=where if kind == "server" else "url.full=http://stock:8080/levels server.address=stock",
    )


def main() -> None:
    choose, rng = random.Random(4), np.random.default_rng(4)
    latest = sorted((span(number, choose) for number in range(40)), key=lambda line: line.time)
    view = View(elapsed=SECONDS, rows=[row(*route, rng) for route in ROUTES], latest=latest)
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    for line in compose(view, WIDTH, HEIGHT):
        console.print(line, no_wrap=True, highlight=False, markup=False)
    target = Path(__file__).parent / "images" / "terminal.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(console.export_svg(title="gotap attach shop", unique_id="gotap"))


if __name__ == "__main__":
    main()
