"""Maps as text: what bpftrace would print, with Go's units."""

from __future__ import annotations

import pytest

from gotap.observe.scriptmaps import Entry
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind
from gotap.signals.maps import results, to_text, units
from map_entries import DURATION, INT, TEXT, UINT, Names, entry, spec, text, word


def shown(one: MapSpec, *entries: Entry, width: int = 80) -> str:
    return to_text(results(one, entries, Names()), lambda word: word.replace("\x1b", "\\x1b"), width)


def test_the_largest_stands_last() -> None:
    entries = [entry(text(b"a"), word(1), count=7), entry(text(b"b"), word(2), count=3)]
    assert shown(spec(MapKind.COUNT, TEXT, INT), *entries) == "@m[b, 2]: 3\n@m[a, 1]: 7\n"
    assert shown(spec(MapKind.COUNT), entry(count=4)) == "@m: 4\n"
    assert shown(spec(MapKind.COUNT)) == ""


def test_what_thinned_probes_feed_says_so() -> None:
    one = spec(MapKind.COUNT)
    estimate = results(one, [entry(count=4)], Names(), sampled_of=8)
    assert to_text(estimate, str) == "@m is an estimate: probes were thinned, to one firing of 8\n@m: 4\n"
    assert to_text(results(one, [], Names(), sampled_of=8), str) == ""


def test_durations_have_units() -> None:
    one = entry(count=2, sum=3_000_000, least=1_000, greatest=2_999_000)
    assert shown(spec(MapKind.AVG, value=DURATION), one) == "@m: 1.5ms\n"
    assert shown(spec(MapKind.COUNT, value=DURATION), one) == "@m: 2\n"
    assert shown(spec(MapKind.STATS, value=DURATION), one) == (
        "@m: count 2, average 1.5ms, total 3ms, min 1µs, max 3ms\n"
    )
    assert shown(spec(MapKind.STATS), one) == "@m: count 2, average 1500000, total 3000000, min 1000, max 2999000\n"


def test_quantiles_on_one_line() -> None:
    one = spec(MapKind.QUANTILE, value=DURATION, bucket=INT)
    found = entry(word(40), count=4, greatest=40)  # bucket [40, 41)
    assert shown(one, found) == "@m: p50 40ns, p90 40ns, p99 40ns, max 40ns\n"


def test_a_histogram() -> None:
    one = spec(MapKind.HIST, TEXT, bucket=INT, parameters=(0,))
    entries = [entry(text(b"a"), word(number), count=count) for number, count in ((0, 1), (1, 1), (11, 52), (10, 26))]
    lines = shown(one, *entries).splitlines()
    assert lines[0] == "@m[a]:"
    assert lines[1] == "[0]                   1 |@                                                   |"
    assert lines[3] == "[2, 4)                0 |                                                    |"
    assert lines[-3] == "[512, 1K)            26 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |"
    assert lines[-2] == "[1K, 2K)             52 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|"
    assert lines[-1] == ""
    assert all(len(line) <= 80 for line in lines)


def test_bars_shrink_with_the_terminal() -> None:
    one = spec(MapKind.HIST, bucket=INT, parameters=(0,))
    lines = shown(one, entry(word(3), count=9), width=40).splitlines()
    assert lines[1] == "[4, 8)                9 |@@@@@@@@@@@@@@|"
    lines = shown(one, entry(word(3), count=9), width=1).splitlines()
    assert lines[1] == "[4, 8)                9 |@@@@@@@@|"


def test_a_histogram_of_durations_and_a_linear_one() -> None:
    one = spec(MapKind.HIST, value=DURATION, bucket=INT, parameters=(0,))
    assert shown(one, entry(word(21), count=1)).splitlines()[1].startswith("[1.05ms, 2.1ms)  ")
    one = spec(MapKind.LHIST, bucket=INT, parameters=(0, 30000, 10000))
    rows = shown(one, *(entry(word(number), count=number + 1) for number in range(5))).splitlines()[1:-1]
    assert [row[:20].rstrip() for row in rows] == [
        "(..., 0)", "[0, 10000)", "[10000, 20000)", "[20000, 30000)", "[30000, ...)",
    ]  # fmt: skip


def test_top_and_time_series_have_bars() -> None:
    one = spec(MapKind.TOP, bucket=TEXT, parameters=(5,))
    lines = shown(one, entry(text(b"a"), count=13), entry(text(b"b"), count=52)).splitlines()
    assert lines[1].startswith("b                    52 |@@@@")
    assert lines[2].startswith("a                    13 |@@@@@@@@@@@@@   ")
    one = spec(MapKind.TSERIES, value=DURATION, bucket=UINT, parameters=(500_000_000, 9, 0))
    entries = [entry(word(number), count=1, sum=1000 * number) for number in (2, 4)]
    rows = shown(one, *entries).splitlines()[1:-1]
    assert [row.split()[0][-6:] for row in rows] == ["01.000", "01.500", "02.000"]
    assert rows[0].split()[1] == "2µs"
    assert rows[1].split()[1] == "|"  # nothing was measured
    assert rows[2].split()[1] == "4µs"


def test_a_stack_stands_on_lines_of_its_own() -> None:
    one = spec(MapKind.COUNT, Part(PartKind.STACK, 24), UINT)
    assert shown(one, entry(word(0x1007) + word(0x3008) + word(0), word(5), count=3)) == (
        "@m[\n\tmain.f main.go:7\n\tmain.g main.go:8\n, 5]: 3\n"
    )


def test_texts_of_the_program_do_not_steer_the_terminal() -> None:
    assert "\x1b" not in shown(spec(MapKind.COUNT, TEXT), entry(text(b"\x1b[2J"), count=1))


def test_stored_values_and_other_keys() -> None:
    one = spec(MapKind.VALUE, Part(PartKind.BOOL), Part(PartKind.SITE, facet="func"), value=TEXT)
    assert shown(one, entry(word(0), word(3), value=text(b"x y"))) == "@m[false, main.f]: x y\n"
    assert shown(spec(MapKind.VALUE, value=Part(PartKind.BOOL)), entry(value=word(1))) == "@m: true\n"
    assert shown(spec(MapKind.VALUE, value=DURATION), entry(value=word(-1500))) == "@m: -1.5µs\n"


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, "0s"), (1, "1ns"), (-1, "-1ns"), (999, "999ns"), (1000, "1µs"), (1234, "1.23µs"), (65536, "65.5µs"),
        (999_499, "999µs"), (999_500, "1ms"), (999_999, "1ms"), (1_500_000, "1.5ms"), (12_345_678, "12.3ms"),
        (999_999_999, "1s"), (59_949_000_000, "59.9s"), (59_950_000_000, "1m0s"), (90_000_000_000, "1m30s"),
        (3_723_000_000_000, "1h2m3s"), (-90_000_000_000, "-1m30s"), (0.4, "0.4ns"), (1333.3, "1.33µs"),
    ],
)  # fmt: skip
def test_short_durations(nanoseconds: float, expected: str) -> None:
    assert units.duration(nanoseconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (1023, "1023"), (1024, "1K"), (1536, "1.5K"), (-2048, "-2K"), (1 << 20, "1M"), (3 << 29, "1.5G"),
     (1 << 63, "8E"), (1 << 64, "16E"), (1056, "1.031K")],
)  # fmt: skip
def test_bounds_of_buckets(value: int, expected: str) -> None:
    assert units.binary(value) == expected
