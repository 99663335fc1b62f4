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
        self.started = time.monotonic()
        self._measuring: ExitStack | None = None
        self.look()

    def look(self) -> None:
        """Starts or ends a measurement as the time says."""
        elapsed = time.monotonic() - self.started
        wanted = elapsed < _FIRST or elapsed % _PERIOD < _MEASURED
        if wanted and self._measuring is None:
            self._measuring = ExitStack()
            with suppress(GotapError):  # then the summary is without the figure
                self._measuring.enter_context(enable_stats())
        elif not wanted:
            self.close()

    def close(self) -> None:
        if self._measuring is not None:
            self._measuring.close()
            self._measuring = None
