from __future__ import annotations

import pytest

from gotap.sinks.summary import Summary


def test_everything_that_was() -> None:
    summary = Summary(
        spans=12345,
        errors=25,
        attached=187.4,
        drops={"ring full": 3, "export failed": 1000, "end missed": 0},
        in_flight_at_attach=2,
        in_flight_at_detach=1,
        hits=61725,
        run_time=0.037,
        runs=61725,
        left_out={"no room in the record": 1234, "not understood": 0},
    )
    assert summary.lines() == [
        "12,345 spans, 25 errors (0.2 %), 1,003 dropped (3 ring full, 1,000 export failed); attached for 3:07",
        "without a span: 2 in flight at the attach, 1 at the detach",
        "texts left out of spans: 1,234 no room in the record",
        "61,725 probe hits, 5.0 a span, 0.60 µs each in BPF, besides the kernel's own trap",
    ]


def test_nothing_that_was() -> None:
    assert Summary(spans=0, errors=0, attached=0.04).lines() == ["0 spans, 0 errors, 0 dropped; attached for 0.0 s"]


def test_cost_is_told_only_where_the_kernel_measures_it() -> None:
    assert Summary(spans=1, errors=1, attached=1, hits=1).lines() == [
        "1 span, 1 error (100.0 %), 0 dropped; attached for 1.0 s",
        "1 probe hit, 1.0 a span",
    ]


@pytest.mark.parametrize(("seconds", "told"), [(59.94, "59.9 s"), (60, "1:00"), (3599, "59:59"), (93787, "26:03:07")])
def test_time_attached(seconds: float, told: str) -> None:
    assert Summary(spans=0, errors=0, attached=seconds).lines()[0].endswith(f"attached for {told}")
