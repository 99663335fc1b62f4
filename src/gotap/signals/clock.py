"""From the kernel's monotonic clock, which stamps records, to Unix time, which signals carry."""

from __future__ import annotations

import time
from collections.abc import Callable

#: How long a measured offset is used: NTP slews at most 500 ppm, so it is off by 0.5 ms at most after this.
_VALID_NS = 1_000_000_000
_ATTEMPTS = 5


class Clock:
    """Unix time minus CLOCK_MONOTONIC, in ns, measured anew every second.

    A slewed clock, a step (NTP, an operator) and a suspended machine, during which CLOCK_MONOTONIC stands still, all
    move the offset. Both ends of an operation are to be converted with one offset, so that durations stay monotonic.
    The clocks are parameters for tests; in a time namespace of its own, gotap's CLOCK_MONOTONIC is not the kernel's.
    """

    def __init__(
        self, monotonic: Callable[[], int] = time.monotonic_ns, realtime: Callable[[], int] = time.time_ns
    ) -> None:
        self._monotonic = monotonic
        self._realtime = realtime
        self._measured = 0
        self._offset: int | None = None

    def offset(self) -> int:
        """Nanoseconds to add to a time of CLOCK_MONOTONIC."""
        now = self._monotonic()
        if self._offset is None or now - self._measured >= _VALID_NS:
            self._offset, self._measured = self._measure(), now
        return self._offset

    def _measure(self) -> int:
        """The offset of the attempt that was interrupted least: realtime is read between two readings of monotonic."""
        best_width, best = -1, 0
        for _ in range(_ATTEMPTS):
            before = self._monotonic()
            real = self._realtime()
            after = self._monotonic()
            if best_width < 0 or after - before < best_width:
                best_width, best = after - before, real - (before + after) // 2
        return best
