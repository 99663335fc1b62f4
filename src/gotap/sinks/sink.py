"""What every sink is: the place where finished operations go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from gotap.signals.batch import Spans
from gotap.signals.metrics import Histogram


class Sink(Protocol):
    """Takes signals from one thread. A sink that cannot go on raises a GotapError, once, and is closed then."""

    def export(self, spans: Spans) -> None:
        """Takes a batch; what is not sampled in it is for the sink to leave out."""
        ...

    def export_metrics(self, histograms: Sequence[Histogram]) -> None: ...

    def losses(self) -> Mapping[str, int]:
        """Spans that could not be handed on, by cause; complete after `close`."""
        ...

    def close(self, timeout: float) -> None:
        """Hands on what is still held, for `timeout` seconds at most. Raises nothing; may be called twice."""
        ...


@runtime_checkable
class InOrder(Protocol):
    """A sink that shows the spans of all targets in one order, though they come in a batch for each."""

    def flush(self, *, several: bool) -> None:
        """What has gathered in the ring has been exported, all of it. `several`: more than one process is watched.

        Raises as `Sink.export` does.
        """
        ...
