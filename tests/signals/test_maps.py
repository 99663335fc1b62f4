"""Entries of a script's maps become results and JSON."""

from __future__ import annotations

import itertools
import json
import random
import statistics
from typing import Any

import msgspec
import pytest

from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind
from gotap.signals.maps import Bucket, MapResult, Stats, results, to_json
from gotap.signals.maps.buckets import linear, log_linear, log_linear_range, quantiles
from map_entries import DURATION, INT, TEXT, UINT, Names, entry, spec, text, word


def as_json(result: MapResult) -> Any:
    return json.loads(msgspec.json.encode(to_json(result)))


def bucket_of(value: int, bits: int) -> int:
    """ir.LogLinear's definition."""
    if value < 0:
        return ~bucket_of(~value, bits)
    if value < 1 << bits:
        return value
    highest = value.bit_length() - 1
    return (highest - bits + 1) << bits | value >> highest - bits & (1 << bits) - 1


def test_counts_with_the_largest_first() -> None:
    found = results(
        spec(MapKind.COUNT, TEXT, INT),
        [entry(text(b"b"), word(-1), count=3), entry(text(b"a"), word(2), count=7), entry(text(b""), word(2), count=3)],
        Names(),
    )
    assert as_json(found) == {
        "map": "@m",
        "kind": "count",
        "entries": [
            {"key": ["a", 2], "value": 7},
            {"key": ["", 2], "value": 3},
            {"key": ["b", -1], "value": 3},
        ],
    }


def test_what_thinned_probes_feed_carries_the_fraction() -> None:
    estimate = results(spec(MapKind.COUNT), [entry(count=4)], Names(), sampled_of=8)
    assert to_json(estimate) == {"map": "@m", "kind": "count", "sampled": 0.125, "entries": [{"key": [], "value": 4}]}


def test_every_kind_of_key() -> None:
    keys: list[tuple[Part, bytes, Any]] = [
        (INT, word(-5), -5),
        (UINT, word(2**64 - 1), 2**64 - 1),
        (Part(PartKind.BOOL), word(1), True),
        (DURATION, word(1500), 1500),
        (TEXT, text("é".encode()), "é"),
        (TEXT, text(b"x" * 16, 40), {"value": "x" * 16, "len": 40, "cut": True}),
        (TEXT, text(b"\xff\x00"), {"hex": "ff00"}),
        (Part(PartKind.TYPE), word(9), "main.T9"),
        (Part(PartKind.TYPE), word(0), None),
        (Part(PartKind.CODE), word(0x1000), "main.f"),
        (Part(PartKind.SITE, facet="line"), word(3), 42),
        (Part(PartKind.SITE, facet="func"), word(4), {"unavailable": "the site is not known"}),
        (Part(PartKind.BYTES, 16), bytes(range(16)), bytes(range(16)).hex()),
        (Part(PartKind.CONSTANT, constant="here"), word(0), "here"),
        (Part(PartKind.STACK, 32), word(0x1007) + word(0x3008) + word(0) * 2,
         [{"func": "main.f", "file": "main.go", "line": 7}, {"func": "main.g", "file": "main.go", "line": 8}]),
    ]  # fmt: skip
    one = spec(MapKind.COUNT, *(part for part, _, _ in keys))
    found = as_json(results(one, [entry(*(raw for _, raw, _ in keys), count=1)], Names()))
    assert found["entries"][0]["key"] == [expected for _, _, expected in keys]


def test_times_are_those_of_the_calendar() -> None:
    found = results(spec(MapKind.COUNT, Part(PartKind.TIME)), [entry(word(5), count=1)], Names(), 1_700_000_000 * 10**9)
    assert as_json(found)["entries"][0]["key"] == ["2023-11-14T22:13:20.000000005Z"]


def test_keys_that_mean_the_same_are_one() -> None:
    """Two addresses in one function; two processes, whose code lies at different places."""
    one = spec(MapKind.STATS, Part(PartKind.CODE))
    entries = [
        entry(word(0x1000), count=2, sum=10, least=4, greatest=6),
        entry(word(0x1004), count=1, sum=-3, least=-3, greatest=-3),
        entry(word(0x3000), count=1, sum=1, least=1, greatest=1),
    ]
    moved = msgspec.structs.replace(entries[0], target=2, parts=(word(0x51000),))
    found = results(one, [*entries, moved], {1: Names(), 2: Names(0x50000)})
    assert [(one.key, one.value) for one in found.entries] == [
        (("main.f",), Stats(5, 17 / 5, 17, -3, 6)),
        (("main.g",), Stats(1, 1, 1, 1, 1)),
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(MapKind.SUM, [(2, 9), (1, -4)]), (MapKind.AVG, [(2, 3), (1, -4 / 3)]), (MapKind.MIN, [(2, 2), (1, -7)]),
     (MapKind.MAX, [(1, 5), (2, 4)])],
)  # fmt: skip
def test_single_numbers(kind: MapKind, expected: list[tuple[int, float]]) -> None:
    entries = [
        entry(word(1), count=3, sum=-4, least=-7, greatest=5),
        entry(word(2), count=3, sum=9, least=2, greatest=4),
    ]
    found = as_json(results(spec(kind, UINT), entries, Names()))
    assert [(one["key"][0], one["value"]) for one in found["entries"]] == expected
    assert found["kind"] == kind.value


def test_an_average_that_is_whole_is_an_integer() -> None:
    found = results(spec(MapKind.AVG), [entry(count=3, sum=9)], Names())
    assert b'"value":3}' in msgspec.json.encode(to_json(found))


def test_stored_values() -> None:
    found = results(spec(MapKind.VALUE, UINT, value=INT), [entry(word(1), value=word(-2))], Names())
    assert as_json(found)["entries"] == [{"key": [1], "value": -2}]
    found = results(spec(MapKind.VALUE, value=TEXT), [entry(value=text(b"some"))], Names())
    assert as_json(found)["entries"] == [{"key": [], "value": "some"}]
    found = results(spec(MapKind.VALUE, value=Part(PartKind.CODE)), [entry(value=word(0x1000))], Names())
    assert [one.value for one in found.entries] == ["main.f"]
    found = results(spec(MapKind.VALUE, value=Part(PartKind.BOOL)), [entry(value=word(1))], Names())
    assert as_json(found)["entries"] == [{"key": [], "value": True}]


def test_stats_and_an_empty_map() -> None:
    found = results(spec(MapKind.STATS), [entry(count=2, sum=5, least=1, greatest=4)], Names())
    assert as_json(found)["entries"] == [
        {"key": [], "value": {"count": 2, "avg": 2.5, "total": 5, "min": 1, "max": 4}}
    ]
    assert as_json(results(spec(MapKind.HIST), [], Names())) == {"map": "@m", "kind": "hist", "entries": []}


# -- buckets ----------------------------------------------------------------------------------------------------


def gathered(one: MapSpec, values: list[int], bits: int) -> MapResult:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value, bits)] = counts.get(bucket_of(value, bits), 0) + 1
    entries = [entry(word(7), word(number), count=count, greatest=max(values)) for number, count in counts.items()]
    random.shuffle(entries)
    return results(one, entries, Names())


def test_a_histogram_has_no_gaps() -> None:
    one = spec(MapKind.HIST, UINT, bucket=INT, parameters=(0,))
    found = as_json(gathered(one, [0, 1, 3, 9, 9, -1, -5], 0))
    assert found["entries"][0]["key"] == [7]
    assert found["entries"][0]["value"]["buckets"] == [
        {"from": -8, "to": -4, "count": 1},
        {"from": -4, "to": -2, "count": 0},
        {"from": -2, "to": -1, "count": 0},
        {"from": -1, "to": 0, "count": 1},
        {"from": 0, "to": 1, "count": 1},
        {"from": 1, "to": 2, "count": 1},
        {"from": 2, "to": 4, "count": 1},
        {"from": 4, "to": 8, "count": 0},
        {"from": 8, "to": 16, "count": 2},
    ]


@pytest.mark.parametrize("bits", range(6))
def test_buckets_meet_and_hold_their_values(bits: int) -> None:
    ends = [log_linear_range(number, bits) for number in range(-200, 200)]
    assert all(one[1] == following[0] for one, following in itertools.pairwise(ends))
    for value in [*range(-300, 300), 2**40 + 1, 2**64 - 1, -(2**63)]:
        start, end = log_linear_range(bucket_of(value, bits), bits)
        assert start <= value < end


def test_a_histogram_of_far_apart_values_leaves_empty_buckets_out() -> None:
    found = log_linear({-1000000: 1, 1000000: 2}, 5)
    assert [bucket.count for bucket in found.buckets] == [1, 2]


def test_a_linear_histogram_is_open_at_both_ends() -> None:
    assert linear({0: 2, 1: 1, 3: 4, 4: 1}, 0, 25, 10).buckets == (
        Bucket(None, 0, 2),
        Bucket(0, 10, 1),
        Bucket(10, 20, 0),
        Bucket(20, 25, 4),
        Bucket(25, None, 1),
    )


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_off_by_a_64th_at_most(seed: int) -> None:
    random.seed(seed)
    values = [int(random.lognormvariate(12, 2)) for _ in range(5000)]
    found = as_json(gathered(spec(MapKind.QUANTILE, UINT, bucket=INT), values, 5))["entries"][0]["value"]
    ordered = sorted(values)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        exact = ordered[int(len(ordered) * share) - 1]
        assert abs(found[name] - exact) <= exact / 64 + 1
    assert abs(found["p50"] - statistics.median(values)) <= statistics.median(values) / 30
    assert found["max"] == max(values)


def test_a_quantile_is_never_more_than_the_greatest() -> None:
    """The bucket is [992, 1008)."""
    found = quantiles({bucket_of(993, 5): 1}, 993)
    assert (found.p50, found.p99, found.max) == (993, 993, 993)


def test_top_tells_the_most_frequent_values() -> None:
    one = spec(MapKind.TOP, UINT, bucket=TEXT, parameters=(2,))
    entries = [entry(word(1), text(name), count=count) for name, count in ((b"a", 3), (b"b", 9), (b"c", 3), (b"d", 1))]
    entries.append(entry(word(2), text(b"a"), count=100))
    assert as_json(results(one, entries, Names()))["entries"] == [
        {"key": [2], "value": [{"value": "a", "count": 100}]},
        {"key": [1], "value": [{"value": "b", "count": 9}, {"value": "a", "count": 3}]},
    ]


@pytest.mark.parametrize(("shown", "expected"), [(0, [6, -3]), (1, [3, -3]), (2, [1, -3]), (3, [5, -3]), (4, [2, 1])])
def test_a_time_series_shows_the_latest_intervals(shown: int, expected: list[int]) -> None:
    one = spec(MapKind.TSERIES, bucket=UINT, parameters=(1000, 3, shown))
    entries = [
        entry(word(40), count=1, sum=1, least=1, greatest=1),
        entry(word(98), count=2, sum=6, least=1, greatest=5),
        entry(word(100), count=1, sum=-3, least=-3, greatest=-3),
    ]
    (found,) = as_json(results(one, entries, Names(), 7))["entries"]
    assert [(point["from"][-16:], point["to"][-16:], point["value"]) for point in found["value"]] == [
        ("00:00.000098007Z", "00:00.000099007Z", expected[0]),
        ("00:00.000100007Z", "00:00.000101007Z", expected[1]),
    ]
    assert [point["count"] for point in found["value"]] == [2, 1]
