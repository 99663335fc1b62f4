"""What the watcher keeps of its own, without the kernel."""

from __future__ import annotations

from gotap.observe.watch import HitNumbers


def test_each_probe_has_a_counter_and_those_that_come_too_late_share_the_last() -> None:
    numbers = HitNumbers(3)
    assert [numbers.number(name) for name in ("begin", "end", "late", "later", "begin")] == [0, 1, 2, 2, 0]
    assert numbers.numbers == {"begin": 0, "end": 1, HitNumbers.OTHERS: 2}, "the sum of all counts no hit twice"
