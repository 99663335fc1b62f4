"""What a probe hit costs, measured in samples: measuring every hit would itself cost some 0.1 µs of each."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

from gotap.errors import GotapError
from gotap.kernel.bpf import enable_stats

#: The kernel measures for the first seconds, so that short sessions have a figure, then for a part of each period.
_FIRST, _MEASURED, _PERIOD = 1.0, 0.25, 5.0


class CostMeter:
    """Has the kernel measure the programs' run time now and then; to be closed."""

    def __init__(self) -> None:
        self._measuring: ExitStack | None = None
        self._begin(time.monotonic(), _FIRST)

    def look(self) -> None:
        """Starts or ends a measurement as the time says; each lasts until the look after its end."""
        now = time.monotonic()
        if self._measuring is not None:
            if now >= self._ends:
                self.close()
        elif now >= self._next:
            self._begin(now, _MEASURED)

    def _begin(self, now: float, seconds: float) -> None:
        self._ends, self._next = now + seconds, now + _PERIOD
        self._measuring = ExitStack()
        with suppress(GotapError):  # then the summary is without the figure
            self._measuring.enter_context(enable_stats())

    def close(self) -> None:
        if self._measuring is not None:
            self._measuring.close()
            self._measuring = None
