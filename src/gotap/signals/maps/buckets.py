"""Which values a bucket stands for: the inverse of ir.LogLinear and ir.Linear."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gotap.bpf.codegen.script.buckets import linear_buckets
from gotap.signals.maps.model import Bucket, Histogram, Quantiles

#: Of quantile(): 2^5 buckets for each power of two.
QUANTILE_BITS = 5
#: A histogram shows empty buckets between others, this many in all; with more, they are left out.
_MOST = 4096


def log_linear_range(number: int, bits: int) -> tuple[int, int]:
    """[start, end) of a bucket; those of negative values have negative numbers."""
    if number < 0:
        start, end = log_linear_range(~number, bits)
        return -end, -start
    if number < 1 << bits:
        return number, number + 1
    shift = (number >> bits) - 1
    start = (1 << bits | number & (1 << bits) - 1) << shift
    return start, start + (1 << shift)


def log_linear(counts: Mapping[int, int], bits: int = 0) -> Histogram:
    """`counts`: by the number of the bucket."""
    return Histogram(tuple(Bucket(*log_linear_range(number, bits), count) for number, count in _filled(counts)))


def linear(counts: Mapping[int, int], low: int, high: int, step: int) -> Histogram:
    last = linear_buckets(low, high, step) + 1
    buckets = []
    for number, count in _filled(counts):
        start = None if number <= 0 else high if number >= last else low + (number - 1) * step
        end = low if number <= 0 else None if number >= last else min(low + number * step, high)
        buckets.append(Bucket(start, end, count))
    return Histogram(tuple(buckets))


def quantiles(counts: Mapping[int, int], greatest: int) -> Quantiles:
    """From buckets of QUANTILE_BITS: the middle of the bucket that holds the value, never more than the greatest."""
    ordered = sorted(counts.items())
    p50, p90, p99 = (min(_at(ordered, share), greatest) for share in (0.5, 0.9, 0.99))
    total = sum(count * _middle(number) for number, count in ordered)
    return Quantiles(p50, p90, p99, greatest, sum(counts.values()), total)


def _at(ordered: Sequence[tuple[int, int]], share: float) -> int:
    """The value that `share` of all values do not exceed (nearest rank)."""
    rank = math.ceil(share * sum(count for _, count in ordered))
    for number, count in ordered:
        rank -= count
        if rank <= 0:
            return _middle(number)
    return 0


def _middle(number: int) -> int:
    start, end = log_linear_range(number, QUANTILE_BITS)
    return (start + end - 1) // 2


def _filled(counts: Mapping[int, int]) -> list[tuple[int, int]]:
    """In ascending order, with the empty ones between."""
    first, last = min(counts), max(counts)
    if last - first >= _MOST:
        return sorted(counts.items())
    return [(number, counts.get(number, 0)) for number in range(first, last + 1)]
