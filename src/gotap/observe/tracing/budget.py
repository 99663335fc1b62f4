"""`--max-overhead`: what probes may cost the host, as a share of one core; who is thinned or taken out above it.

Pure: measurements in, decisions out. A firing costs its trap, which nothing but detaching spares, and its program, of
which a thinned probe runs the beginning only. So a probe is detached when the traps alone are too much, and thinned
otherwise. What gotap's own process takes is not counted: it can be given a lower priority, a traced program cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

#: One firing of so many is taken at the least.
MOST_THINNED = 1024
#: What a program takes (ns) that finds its firing not to be taken: it looks up one word and ends.
_SKIPPED = 80.0
#: Seconds in a row that a thinned probe must be cheap enough before it is thinned less.
_CALM = 10
#: It is cheap enough when twice the firings would still keep this part of the budget free.
_FREE = 0.25

_SECOND = 1e9


class Load(Struct, frozen=True):
    """What a probe did in the last second. `passes`: how often its sites were passed, taken or not. `trap` and `run`:
    ns a pass, on the average. `thinned`: one firing of so many was taken; 0: its firings cannot be thinned.
    """

    number: int
    name: str
    passes: float
    trap: float
    run: float
    thinned: int = 1

    @property
    def full(self) -> float:
        """ns of a run that is taken."""
        return max(_SKIPPED + (self.run - _SKIPPED) * max(self.thinned, 1), self.run)

    def share(self, thinned: int) -> float:
        """Part of a core it would take if one firing of so many were taken."""
        run = self.full if thinned <= 1 else min(_SKIPPED + (self.full - _SKIPPED) / thinned, self.full)
        return self.passes * (self.trap + run) / _SECOND

    @property
    def now(self) -> float:
        return self.passes * (self.trap + self.run) / _SECOND

    @property
    def least(self) -> float:
        return self.share(MOST_THINNED if self.thinned else 1)


class Thin(Struct, frozen=True):
    """From now on one firing of `factor` is taken. `text`: why, for the user."""

    number: int
    factor: int
    text: str


class Detach(Struct, frozen=True):
    number: int
    text: str


Action = Thin | Detach


class Budget:
    """Keeps the probes' cost below a share of one core."""

    def __init__(self, share: float) -> None:
        """`share`: 0.05 is 5 % of one core."""
        self.share = share
        self._calm: dict[int, int] = {}  # by probe: for how many seconds it has been cheap

    def decide(self, loads: Sequence[Load]) -> list[Action]:
        """What is to be done after a second with these loads; nothing most of the time."""
        total = sum(load.now for load in loads)
        if total <= self.share:
            return self._relaxed(loads, total)
        self._calm.clear()
        return [*self._detached(loads, total), *self._thinned(loads)]

    def _gone(self, loads: Sequence[Load]) -> list[Load]:
        """The costliest, until the rest could be thinned to fit."""
        left = sorted(loads, key=lambda load: load.least, reverse=True)
        gone = []
        while left and sum(load.least for load in left) > self.share:
            gone.append(left.pop(0))
        return gone

    def _detached(self, loads: Sequence[Load], total: float) -> list[Action]:
        return [
            Detach(
                load.number,
                f"{load.name} is detached: the probes took {_percent(total)} of a core, more than the "
                f"{_percent(self.share)} of --max-overhead, and it alone takes {_percent(load.least)} however much it "
                f"is thinned ({load.passes:,.0f} hits a second)",
            )
            for load in self._gone(loads)
        ]

    def _thinned(self, loads: Sequence[Load]) -> list[Action]:
        gone = {load.number for load in self._gone(loads)}
        left = {load.number: load for load in loads if load.number not in gone}
        factors = {number: max(load.thinned, 1) for number, load in left.items()}
        while sum(load.share(factors[number]) for number, load in left.items()) > self.share:
            able = [number for number, load in left.items() if load.thinned and factors[number] < MOST_THINNED]
            if not able:
                break
            # Whose next halving saves most.
            best = max(able, key=lambda n: left[n].share(factors[n]) - left[n].share(2 * factors[n]))
            factors[best] *= 2
        return [
            Thin(number, factor, f"{left[number].name} is thinned: one firing of {factor} is taken, since it would "
                                 f"take {_percent(left[number].share(1))} of a core")
            for number, factor in factors.items()
            if factor != max(left[number].thinned, 1)
        ]  # fmt: skip

    def _relaxed(self, loads: Sequence[Load], total: float) -> list[Action]:
        """Thinned probes that have long been cheap are thinned less, one a second."""
        actions: list[Action] = []
        for load in loads:
            if load.thinned <= 1:
                continue
            factor = load.thinned // 2
            after = total - load.now + load.share(factor)
            self._calm[load.number] = self._calm.get(load.number, 0) + 1 if after <= self.share * (1 - _FREE) else 0
            if self._calm[load.number] >= _CALM and not actions:
                self._calm[load.number] = 0
                taken = "every firing is taken again" if factor == 1 else f"one firing of {factor} is taken again"
                actions.append(Thin(load.number, factor, f"{load.name} is thinned less: {taken}"))
        return actions


def _percent(share: float) -> str:
    """`23%`, `4.8%`."""
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.1f}%"
