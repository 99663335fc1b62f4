"""Entries of a map in the kernel → results: names for addresses, buckets gathered under the user's keys, an order."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from gotap.observe.scriptmaps import Entry
from gotap.probe.script.bound import SERIES, MapKind, MapSpec, Part, PartKind, SiteInfo
from gotap.signals.maps import buckets
from gotap.signals.maps.model import MapEntry, MapResult, MapValue, Point, Series, Stats, Top
from gotap.signals.stacks import Frame
from gotap.signals.values import Unavailable
from gotap.signals.values.scalars import text


class Resolver(Protocol):
    """What a target's addresses and sites are called. Those of code are as in the process, those of types as in the
    file.
    """

    def code(self, address: int) -> str: ...

    def type(self, address: int) -> str: ...

    def site(self, number: int) -> SiteInfo | None: ...

    def stack(self, addresses: Sequence[int]) -> list[Frame]: ...


class _Gathered(Struct):
    """What all entries of one user's key say. `counts`: by the bucket, raw for `top`; `names`: of `value`."""

    key: tuple[Any, ...]
    names: Resolver
    count: int = 0
    sum: int = 0
    least: int | None = None
    greatest: int | None = None
    value: bytes = b""
    counts: dict[Any, int] = {}
    entries: list[Entry] = []


def results(spec: MapSpec, entries: Sequence[Entry], resolver: Resolver | Mapping[int, Resolver], offset: int = 0,
            sampled_of: int = 1) -> MapResult:  # fmt: skip
    """`resolver`: of the one target, or of each by its number. `offset`: from CLOCK_MONOTONIC to Unix time, ns.
    `sampled_of`: as in MapResult.

    Entries whose keys mean the same, though their addresses differ, become one.
    """
    gathered = _gather(spec, entries, resolver, offset)
    value = _VALUES[spec.kind]
    found = [(_weight(spec, one), MapEntry(one.key, value(spec, one, offset))) for one in gathered]
    found.sort(key=lambda pair: (_descending(pair[0]), repr(pair[1].key)))
    return MapResult(spec, tuple(entry for _, entry in found), sampled_of)


def _gather(
    spec: MapSpec, entries: Sequence[Entry], resolver: Resolver | Mapping[int, Resolver], offset: int
) -> list[_Gathered]:
    found: dict[str, _Gathered] = {}
    for entry in entries:
        names = resolver[entry.target] if isinstance(resolver, Mapping) else resolver
        parts = [decode_part(part, raw, names, offset) for part, raw in zip(spec.keys, entry.parts, strict=False)]
        key = tuple(parts)
        one = found.setdefault(repr(key), _Gathered(key, names, counts={}, entries=[]))
        one.count += entry.count
        one.sum += entry.sum
        one.least = entry.least if one.least is None else min(one.least, entry.least)
        one.greatest = entry.greatest if one.greatest is None else max(one.greatest, entry.greatest)
        one.value, one.names = entry.value, names
        one.entries.append(entry)
        if spec.bucket is not None:
            bucket = _bucket(spec, spec.bucket, entry.parts[-1], names, offset)
            one.counts[bucket] = one.counts.get(bucket, 0) + entry.count
    return list(found.values())


def _bucket(spec: MapSpec, part: Part, raw: bytes, names: Resolver, offset: int) -> Any:
    if spec.kind is MapKind.TOP:
        return _Hashable(decode_part(part, raw, names, offset))
    return int.from_bytes(raw[:8], "little", signed=True)


class _Hashable:
    """A value of a key as one of a dictionary: two that are written the same are the same."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self._text = repr(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashable) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def decode_part(part: Part, raw: bytes, names: Resolver, offset: int = 0) -> Any:
    """One part of a key, or a stored value, from its bytes."""
    word = int.from_bytes(raw[:8], "little")
    match part.kind:
        case PartKind.INT | PartKind.DURATION:
            return int.from_bytes(raw[:8], "little", signed=True)
        case PartKind.BOOL:
            return word != 0
        case PartKind.TIME:
            return word + offset
        case PartKind.TEXT:
            return text(raw[8 : 8 + min(word, part.size - 8)], word)
        case PartKind.TYPE:
            return names.type(word) if word else None
        case PartKind.CODE:
            return names.code(word)
        case PartKind.SITE:
            site = names.site(word)
            return Unavailable("the site is not known") if site is None else _facet(site, part)
        case PartKind.STACK:
            addresses = struct.unpack(f"<{part.size // 8}Q", raw)
            return names.stack(addresses[: addresses.index(0)] if 0 in addresses else addresses)
        case PartKind.BYTES:
            return raw.hex()
        case PartKind.CONSTANT:
            return part.constant
        case _:
            return part.names[word] if word < len(part.names) else word


def _facet(site: SiteInfo, part: Part) -> str | int:
    match part.facet:
        case "func":
            return site.function
        case "pkg":
            return site.package
        case "file":
            return site.file
        case "line":
            return site.line
        case "address":
            return site.address


# -- values -----------------------------------------------------------------------------------------------------


def _average(total: int, count: int) -> int | float:
    if not count:
        return 0
    return total // count if total % count == 0 else total / count


def _stored(spec: MapSpec, one: _Gathered, offset: int) -> MapValue:
    return decode_part(spec.value, one.value, one.names, offset)


def _stats(spec: MapSpec, one: _Gathered, offset: int) -> Stats:
    return Stats(one.count, _average(one.sum, one.count), one.sum, one.least or 0, one.greatest or 0)


def _top(spec: MapSpec, one: _Gathered, offset: int) -> Top:
    ordered = sorted(one.counts.items(), key=lambda pair: (-pair[1], repr(pair[0].value)))
    limit = spec.parameters[0] if spec.parameters else len(ordered)
    return Top(tuple((value.value, count) for value, count in ordered[:limit]))


def _series(spec: MapSpec, one: _Gathered, offset: int) -> Series:
    interval, slots = spec.parameters[:2]
    function = SERIES[spec.parameters[2] if len(spec.parameters) > 2 else 0]
    by_interval: dict[int, list[Entry]] = {}
    for entry in one.entries:
        by_interval.setdefault(int.from_bytes(entry.parts[-1][:8], "little"), []).append(entry)
    latest = max(by_interval)
    points = []
    for number, entries in sorted(by_interval.items()):
        if number > latest - slots:
            start = number * interval + offset
            count = sum(entry.count for entry in entries)
            points.append(Point(start, start + interval, _of_interval(function, entries, count), count))
    return Series(tuple(points))


def _of_interval(function: str, entries: Sequence[Entry], count: int) -> int | float:
    total = sum(entry.sum for entry in entries)
    match function:
        case "avg":
            return _average(total, count)
        case "min":
            return min(entry.least for entry in entries)
        case "max":
            return max(entry.greatest for entry in entries)
        case "count":
            return count
        case _:
            return total


_VALUES: dict[MapKind, Callable[[MapSpec, _Gathered, int], MapValue]] = {
    MapKind.VALUE: _stored,
    MapKind.COUNT: lambda spec, one, offset: one.count,
    MapKind.SUM: lambda spec, one, offset: one.sum,
    MapKind.AVG: lambda spec, one, offset: _average(one.sum, one.count),
    MapKind.MIN: lambda spec, one, offset: one.least,
    MapKind.MAX: lambda spec, one, offset: one.greatest,
    MapKind.STATS: _stats,
    MapKind.HIST: lambda spec, one, offset: buckets.log_linear(one.counts, *spec.parameters),
    MapKind.LHIST: lambda spec, one, offset: buckets.linear(one.counts, *spec.parameters),
    MapKind.QUANTILE: lambda spec, one, offset: buckets.quantiles(one.counts, one.greatest or 0),
    MapKind.TOP: _top,
    MapKind.TSERIES: _series,
}

#: Maps whose entries are ordered by their value.
_BY_VALUE = {MapKind.SUM, MapKind.AVG, MapKind.MIN, MapKind.MAX, MapKind.VALUE}


def _weight(spec: MapSpec, one: _Gathered) -> int | float | str:
    if spec.kind not in _BY_VALUE:
        return one.count
    value = _VALUES[spec.kind](spec, one, 0)
    return value if isinstance(value, int | float) else repr(value)


def _descending(weight: int | float | str) -> tuple[float, tuple[int, ...]]:
    """Numbers from the largest on; texts in their order."""
    if isinstance(weight, str):
        return 0, tuple(map(ord, weight))
    return -weight, ()
