"""Numbers short enough for a table."""

from __future__ import annotations

import math

_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")
_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns"))


def binary(value: int) -> str:
    """Bounds of buckets as bpftrace writes them: 1K is 1024; to four digits."""
    power = min(max(abs(value).bit_length() - 1, 0) // 10, len(_SUFFIXES) - 1)
    return f"{value / (1 << 10 * power):.4g}{_SUFFIXES[power]}" if power else str(value)


def number(value: int | float) -> str:
    """A whole number as it is, another one to six digits."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def duration(nanoseconds: int | float) -> str:
    """To three digits, in the largest unit that it has: 1.23ms; from a minute on 1m30s."""
    size, sign = abs(nanoseconds), "-" if nanoseconds < 0 else ""
    if size >= 59_950_000_000:
        return sign + _minutes(round(size / 1_000_000_000))
    if not size:
        return "0s"
    rounded = _three_digits(size)
    unit, name = next(((unit, name) for unit, name in _UNITS if rounded >= unit), _UNITS[-1])
    return f"{sign}{rounded / unit:.3g}{name}"


def _three_digits(size: int | float) -> float:
    return round(size, 2 - math.floor(math.log10(size)))


def _minutes(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{f'{hours}h' if hours else ''}{minutes}m{seconds % 60}s"
