"""What is asked again and again: what maps hold; and what is told when a target executes itself again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gotap.commands.trace.names import NoNames
from gotap.observe.tracing.tracer import Tracer
from gotap.signals.clock import Clock

if TYPE_CHECKING:
    from gotap.signals.maps import MapResult


def again(pid: int, executed: Sequence[float], traced: float) -> str:
    """What is told when the same file was executed at these moments, and is traced from another one on.

    Without the kernel's help the moment is the last at which it had not happened, so that this is the most that was
    missed; and probes may stay in place over an execution.
    """
    times = "" if len(executed) == 1 else f" {len(executed)} times"
    missed = f"up to {1000 * (traced - executed[0]):,.0f} ms of it were not seen"
    return f"{pid} executed the same program again{times}, which is traced now; {missed}"


def read_map(tracer: Tracer, names: NoNames, clock: Clock, number: int, epoch: int | None) -> MapResult:
    """What a map of the script holds; `epoch` None: now."""
    from gotap.signals.maps import results

    chosen = tracer.maps.epoch(number) if epoch is None else epoch
    factor = tracer.sampling.factor(number, chosen)
    return results(tracer.maps.specs[number], tracer.maps.read(number, chosen), names, clock.offset(), factor)
