"""Durations as people read them."""

from __future__ import annotations


def duration_text(seconds: float) -> str:
    """Three digits and a unit without a blank, so that a line stays a line of words: `850ns`, `1.23ms`, `12.3s`."""
    if seconds != seconds:
        return "-"
    for unit, scale in (("ns", 1e9), ("µs", 1e6), ("ms", 1e3)):
        value = seconds * scale
        if value < 999.5:
            return f"{value:.0f}{unit}" if unit == "ns" or value >= 99.95 else f"{value:.3g}{unit}"
    return f"{seconds:.3g}s" if seconds < 99.95 else f"{seconds:.0f}s"
