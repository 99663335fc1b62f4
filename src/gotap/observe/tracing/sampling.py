"""How much of what happened maps hold, where probes were thinned."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct


class _Change(Struct, frozen=True):
    """While this epoch of a map lasted, the greatest factor of the probes that feed it became this one."""

    epoch: int
    factor: int


class Sampling:
    """By map and epoch: one firing of how many was taken when least were."""

    def __init__(self, feeding: Mapping[int, frozenset[int]], epoch: Callable[[int], int]) -> None:
        """`feeding`: by map the probes that store into it. `epoch`: of a map, now."""
        self._feeding = feeding
        self._epoch = epoch
        self._factors: dict[int, int] = {}  # by probe
        self._changes: dict[int, list[_Change]] = {}  # by map

    def thin(self, probe: int, factor: int, act: Callable[[], None]) -> None:
        """From now on one firing of `factor` of a probe is taken: `act` sees to that."""
        fed = [number for number, probes in self._feeding.items() if probe in probes]
        before = {number: (self._epoch(number), self._now(number)) for number in fed}
        act()
        self._factors[probe] = factor
        for number, (epoch, old) in before.items():
            changes = self._changes.setdefault(number, [])
            new, after = self._now(number), self._epoch(number)
            changes.append(_Change(epoch, new))
            if after != epoch:  # it was cleared meanwhile, before or behind the change
                changes += [_Change(after, max(old, new)), _Change(after, new)]

    def _now(self, number: int) -> int:
        return max((self._factors.get(probe, 1) for probe in self._feeding[number]), default=1)

    def factor(self, number: int, epoch: int) -> int:
        """1: an epoch of this map holds every firing."""
        most = held = 1
        for change in self._changes.get(number, ()):
            if change.epoch < epoch:
                held = change.factor
            elif change.epoch == epoch:
                most = max(most, change.factor)
        return max(most, held)
