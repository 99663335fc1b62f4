"""Maps as text, as bpftrace writes them: `@name[key, …]: value`, the largest last; histograms and such with bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gotap.probe.script.bound import MapSpec, PartKind
from gotap.signals.maps import units
from gotap.signals.maps.model import (
    Bucket,
    Histogram,
    MapEntry,
    MapResult,
    MapValue,
    Point,
    Quantiles,
    Series,
    Stats,
    Top,
)
from gotap.signals.stacks import stack_lines
from gotap.signals.trace_values import Clean, as_text

#: Cells of the longest bar, as in bpftrace; on a narrow terminal fewer.
_BAR, _LEAST_BAR, _WIDTH = 52, 8, 80
#: Intervals without a value that are shown between others.
_MOST_ROWS = 1000

_Number = Callable[[int | float], str]


def to_text(result: MapResult, clean: Clean, width: int = 0) -> str:
    """Whole lines; empty when the map is. `clean` makes texts of the program safe to print. A map that thinned probes
    feed has a line before it that says so.

    `width`: of the terminal; 0: there is none.
    """
    lines = "".join(_entry(result.spec, entry, clean, width or _WIDTH) for entry in reversed(result.entries))
    if not lines or result.sampled_of == 1:
        return lines
    return f"{result.spec.name} is an estimate: probes were thinned, to one firing of {result.sampled_of}\n{lines}"


def _entry(spec: MapSpec, entry: MapEntry, clean: Clean, width: int) -> str:
    head = spec.name + _key(spec, entry, clean)
    match entry.value:
        case Histogram(buckets):
            return _block(head, _histogram(spec, buckets, width))
        case Top(values):
            return _block(head, _top(spec, values, clean, width))
        case Series(points):
            return _block(head, _series(spec, points, width))
        case value:
            return f"{head}: {_value(spec, value, clean)}\n"


def _block(head: str, rows: Sequence[str]) -> str:
    return "\n".join([f"{head}:", *rows, "", ""])


def _key(spec: MapSpec, entry: MapEntry, clean: Clean) -> str:
    """`[a, b]`; a stack stands on lines of its own."""
    text = ""
    for part, value in zip(spec.keys, entry.key, strict=True):
        if part.kind is PartKind.STACK:
            text = text.rstrip(" ") + "\n" + "\n".join(stack_lines(value, clean)) + "\n"
        else:
            text += as_text(part, value, clean)
        text += ", "
    if not text:
        return ""
    return f"[{text.removesuffix(', ')}]"


def _number(spec: MapSpec) -> _Number:
    return units.duration if spec.value.kind is PartKind.DURATION else units.number


def _value(spec: MapSpec, value: MapValue, clean: Clean) -> str:
    shown = _number(spec)
    match value:
        case Stats(count, average, total, least, greatest):
            return (
                f"count {count}, average {shown(average)}, total {shown(total)}, "
                f"min {shown(least)}, max {shown(greatest)}"
            )
        case Quantiles(p50, p90, p99, greatest):
            return f"p50 {shown(p50)}, p90 {shown(p90)}, p99 {shown(p99)}, max {shown(greatest)}"
        case bool() | None:
            return as_text(spec.value, value, clean)
        case int() | float() if spec.kind.value == "count":
            return str(value)
        case int() | float() if spec.value.kind in (PartKind.INT, PartKind.UINT, PartKind.DURATION):
            return shown(value)
        case _:
            return as_text(spec.value, value, clean)


# -- rows with bars ---------------------------------------------------------------------------------------------


def _histogram(spec: MapSpec, buckets: Sequence[Bucket], width: int) -> list[str]:
    return _bars([(_range(spec, one), str(one.count), one.count) for one in buckets], width)


def _range(spec: MapSpec, bucket: Bucket) -> str:
    is_linear = spec.kind.value == "lhist"
    shown: _Number = units.number if is_linear else lambda value: units.binary(int(value))
    if spec.value.kind is PartKind.DURATION:
        shown = units.duration
    if bucket.start is None:
        return f"(..., {shown(bucket.end or 0)})"
    if bucket.end is None:
        return f"[{shown(bucket.start)}, ...)"
    if bucket.end == bucket.start + 1:
        return f"[{shown(bucket.start)}]"
    return f"[{shown(bucket.start)}, {shown(bucket.end)})"


def _top(spec: MapSpec, values: Sequence[tuple[Any, int]], clean: Clean, width: int) -> list[str]:
    part = spec.bucket or spec.value
    return _bars([(as_text(part, value, clean).strip(), str(count), count) for value, count in values], width)


def _series(spec: MapSpec, points: Sequence[Point], width: int) -> list[str]:
    if not points:
        return []
    interval, shown = spec.parameters[0], _number(spec)
    by_start = {one.start: one for one in points}
    starts = range(points[0].start, points[-1].end, interval)
    rows = []
    for start in starts if len(starts) <= _MOST_ROWS else by_start:
        point = by_start.get(start)
        text, size = ("", 0) if point is None else (shown(point.value), point.value)
        rows.append((_moment(start, interval), text, size))
    return _bars(rows, width)


def _moment(nanoseconds: int, interval: int) -> str:
    """Local time, to the second, or as fine as intervals of less than a second ask for."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    text = time.strftime("%H:%M:%S", time.localtime(seconds))
    return text if interval % 1_000_000_000 == 0 else f"{text}.{rest // 1_000_000:03}"


def _bars(rows: Sequence[tuple[str, str, int | float]], width: int) -> list[str]:
    """Label, number, bar of each row; the longest bar is the largest number's."""
    labels = max((len(label) for label, _, _ in rows), default=0)
    numbers = max((len(number) for _, number, _ in rows), default=0)
    labels, numbers = max(labels, 16), max(numbers, 6)
    cells = max(min(_BAR, width - labels - numbers - 4), _LEAST_BAR)
    most = max((abs(size) for _, _, size in rows), default=0) or 1
    return [
        f"{label:<{labels}} {number:>{numbers}} |{'@' * _cells(size, most, cells):<{cells}}|"
        for label, number, size in rows
    ]


def _cells(size: int | float, most: int | float, cells: int) -> int:
    """What is there has one at least."""
    return max(int(abs(size) * cells / most), 1) if size else 0
