from __future__ import annotations

import math

import numpy as np
import pytest

from gotap.signals.batch import Coded, Spans
from gotap.signals.red import HISTOGRAM_BOUNDS, MAX_ROWS, OTHERS, RedTable
from span_samples import random_spans


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.25

    def __call__(self) -> float:
        return self.now


def batch(seconds: list[float], names: list[str] | None = None, errors: list[bool] | None = None) -> Spans:
    spans = random_spans(1, len(seconds))
    spans.start = np.full(len(seconds), 10**18, np.uint64)
    spans.end = spans.start + (np.array(seconds) * 1e9).astype(np.uint64)
    names = names or ["GET /"] * len(seconds)
    values = list(dict.fromkeys(names))
    spans.name = Coded(np.array([values.index(name) for name in names], np.int32), values)
    spans.error = np.array(errors or [False] * len(seconds))
    spans.sampled[:] = False  # what is not sampled counts too
    return spans


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_within_their_promise(seed: int) -> None:
    durations = np.random.default_rng(seed).lognormal(-6, 2, 5000).clip(2e-6, 100)
    table = RedTable(clock=Seconds())
    for part in np.array_split(durations, 7):
        table.add(batch(part.tolist()))
    (row,) = table.rows()
    exact = np.quantile(durations, [0.5, 0.95, 0.99], method="inverted_cdf")
    for estimate in (row.total, row.recent):
        assert [estimate.p50, estimate.p95, estimate.p99] == pytest.approx(exact.tolist(), rel=0.045)


def test_counts_errors_and_names() -> None:
    table = RedTable(clock=Seconds())
    table.add(batch([0.1] * 4, ["a", "b", "a", "a"], [True, False, False, True]))
    table.add(batch([0.1] * 2, ["c", "a"]))
    assert [(row.name, row.count, row.errors) for row in table.rows()] == [("a", 4, 2), ("b", 1, 0), ("c", 1, 0)]
    assert (table.rows()[0].service, table.rows()[0].operation, table.rows()[0].kind) == (
        "shop",
        "http.server",
        "server",
    )


def test_histogram_bounds_are_inclusive_above() -> None:
    table = RedTable(clock=Seconds())
    table.add(batch([0.0, 0.0005, 0.00051, 10.0, 10.1]))
    (row,) = table.rows()
    assert len(row.histogram) == len(HISTOGRAM_BOUNDS) + 1
    assert (row.histogram[0], row.histogram[1], row.histogram[-2], row.histogram[-1]) == (2, 1, 1, 1)


class TestWindow:
    def test_rate_is_of_the_window(self) -> None:
        clock = Seconds()
        table = RedTable(window=10, clock=clock)
        for _ in range(30):
            table.add(batch([0.1] * 20, None, [True] * 5 + [False] * 15))
            clock.now += 1.0
        (row,) = table.rows()
        assert row.rate == pytest.approx(20, rel=0.03)
        assert row.error_rate == pytest.approx(5, rel=0.03)
        assert row.count == 600

    def test_first_seconds(self) -> None:
        clock = Seconds()
        table = RedTable(window=10, clock=clock)
        table.add(batch([0.1] * 20))
        assert table.rows()[0].rate == 20
        clock.now += 2.0
        assert table.rows()[0].rate == 10

    @pytest.mark.parametrize("pause", [10.9, 12.0, 1000.0])
    def test_what_left_the_window_is_forgotten_by_it_alone(self, pause: float) -> None:
        clock = Seconds()
        table = RedTable(window=10, clock=clock)
        table.add(batch([0.1] * 20))
        clock.now += pause
        (row,) = table.rows()
        assert row.rate == 0
        assert math.isnan(row.recent.p50)
        assert row.total.p50 == pytest.approx(0.1, rel=0.045)
        assert row.count == 20


def test_names_beyond_the_limit_share_a_row() -> None:
    table = RedTable(clock=Seconds())
    names = [f"GET /{index}" for index in range(MAX_ROWS + 100)]
    for _ in range(2):
        table.add(batch([0.1] * len(names), names))
    rows = {row.name: row.count for row in table.rows()}
    assert len(rows) == MAX_ROWS
    assert rows[OTHERS] == 2 * 101
    assert sum(rows.values()) == 2 * len(names)


def test_empty() -> None:
    table = RedTable()
    table.add(batch([]))
    assert table.rows() == []
