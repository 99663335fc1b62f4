"""What a script's maps hold, for whoever shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gotap.commands.trace.names import NoNames
from gotap.observe.tracing.tracer import Tracer
from gotap.signals.clock import Clock

if TYPE_CHECKING:
    from gotap.signals.maps import MapResult


def read_map(tracer: Tracer, names: NoNames, clock: Clock, number: int, epoch: int | None) -> MapResult:
    """What a map of the script holds; `epoch` None: now."""
    from gotap.signals.maps import results

    chosen = tracer.maps.epoch(number) if epoch is None else epoch
    factor = tracer.sampling.factor(number, chosen)
    return results(tracer.maps.specs[number], tracer.maps.read(number, chosen), names, clock.offset(), factor)
