from __future__ import annotations

import time

from gotap.signals.clock import Clock


class Clocks:
    """Two clocks that advance by one reading's cost, and by hand."""

    def __init__(self, offset: int) -> None:
        self.now = 1_000
        self.offset = offset
        self.costs: list[int] = []

    def monotonic(self) -> int:
        self.now += self.costs.pop(0) if self.costs else 20
        return self.now

    def realtime(self) -> int:
        return self.now + self.offset


def test_offset_is_read_with_the_least_interrupted_attempt() -> None:
    clocks = Clocks(offset=10**18)
    clocks.costs = [20, 20, 5_000_000, 20, 2, 20, 90_000]  # now; then before, after of each attempt
    measured = Clock(clocks.monotonic, clocks.realtime).offset()
    assert abs(measured - 10**18) <= 2


def test_a_step_is_seen_after_a_second_and_not_before() -> None:
    clocks = Clocks(offset=10**18)
    clock = Clock(clocks.monotonic, clocks.realtime)
    first = clock.offset()
    clocks.offset += 3_600 * 10**9
    clocks.now += 400_000_000
    assert clock.offset() == first
    clocks.now += 700_000_000
    assert abs(clock.offset() - first - 3_600 * 10**9) < 100


def test_real_clocks() -> None:
    before = time.time_ns()
    converted = time.monotonic_ns() + Clock().offset()
    after = time.time_ns()
    assert before - 1_000_000 <= converted <= after + 1_000_000
