"""What can go wrong with the memory that target and gotap share."""

from __future__ import annotations

from gotap.errors import GotapError


class MachineError(GotapError):
    """A map, a ring or code of the in-process machine cannot be made or used."""


class NoMemoryError(MachineError):
    """There is no room left in the region, or no memory for it."""


class BusyError(MachineError):
    """Somebody holds a lock for too long: the target was stopped in the middle of a change."""
