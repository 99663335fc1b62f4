"""What a script's maps hold, as plain results: entries of the kernel → keys and values, JSON, text."""

from __future__ import annotations

from gotap.signals.maps.jsonform import to_json
from gotap.signals.maps.model import Bucket, Histogram, MapEntry, MapResult, Point, Quantiles, Series, Stats, Top
from gotap.signals.maps.results import Resolver, results
from gotap.signals.maps.text import to_text

__all__ = [
    "Bucket",
    "Histogram",
    "MapEntry",
    "MapResult",
    "Point",
    "Quantiles",
    "Resolver",
    "Series",
    "Stats",
    "Top",
    "results",
    "to_json",
    "to_text",
]
