"""Alternating measurements and how they are told: median, spread, and differences taken within a round."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Values:
    """The same thing measured several times."""

    all: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.all)

    def less(self, baseline: Values) -> Values:
        """Differences round by round: what drifts from round to round drops out."""
        return Values(tuple(one - other for one, other in zip(self.all, baseline.all, strict=True)))

    def text(self, unit: str, digits: int = 1, sign: str = "") -> str:
        low, high = (f"{value:{sign}.{digits}f}" for value in (min(self.all), max(self.all)))
        return f"{self.median:{sign}.{digits}f} {unit} ({low}…{high})"


def alternate(variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Values]:
    """Measures each variant once a round; every other round runs backwards, so that none always comes first."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants) if number % 2 == 0 else reversed(list(variants)):
            found[name].append(variants[name]())
    return {name: Values(tuple(values)) for name, values in found.items()}


def verdict(value: float, most: float, unit: str = "", digits: int = 1) -> str:
    """`within 8.0 µs` or by how much it is over."""
    if value <= most:
        return f"within {most:.{digits}f} {unit}".rstrip()
    return f"OVER {most:.{digits}f} {unit}".rstrip()


def machine(go: str) -> str:
    """What the numbers depend on, in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}, {go}; "
        f"load average {load}"
    )
