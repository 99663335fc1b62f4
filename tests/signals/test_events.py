"""Records of a script → events: every kind of column, what is absent, what was thinned, what is damaged."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gotap.probe.record import HEADER, Column, ColumnKind, Layout
from gotap.probe.script.bound import EventKind, EventSpec, Part, PartKind, SiteInfo
from gotap.probe.script.record import EVENT, EventFlags
from gotap.probe.script.routine import Ended
from gotap.signals.clock import Clock
from gotap.signals.events import NO_ROOM, UNREADABLE, EventDecoder, Events, ended_word
from gotap.signals.stacks import Frame
from gotap.signals.values import Memory, Moments, SnapshotMemory, Unavailable, Value
from gotap.signals.values.model import Text

SITES = [SiteInfo("main.f", "main", "/src/main.go", 10, 0x1000), SiteInfo("main.g", "main", "/src/main.go", 20, 0x2000)]
MONOTONIC, UNIX = 1_000, 1_600_000_000_000_000_000


class Names:
    """Names that say what they were asked."""

    bias = 0x10000

    def code(self, address: int) -> str:
        return f"code {address:#x}"

    def type(self, address: int) -> str:
        return f"type {address:#x}"

    def site(self, number: int) -> SiteInfo | None:
        return SITES[number] if number < len(SITES) else None

    def stack(self, addresses: Sequence[int]) -> list[Frame]:
        return [Frame(f"{address:#x}", "", 0) for address in addresses]

    def memory(self, record: bytes, start: int, end: int, flags: int) -> Moments:
        return Moments([(0, SnapshotMemory(()))])

    def value(self, part: Part, root: bytes, memory: Memory) -> Value:
        return f"{part.type} of {root.hex()}"


class Records:
    """Puts records of one layout together."""

    def __init__(self, *kinds: ColumnKind, size: int = 256) -> None:
        self.columns = [Column(f"c{index}", kind, index) for index, kind in enumerate(kinds)]
        self.layout = Layout("main.f", 3, tuple(self.columns))
        self.size = size

    def record(self, *values: int | bytes | tuple[bytes, int] | None, **header: int) -> bytes:
        """A value is a word, bytes in the heap, bytes with the full length, or None: absent."""
        head = np.zeros(1, EVENT)
        columns, heap, at = b"", b"", self.layout.heap_offset
        for index, value in enumerate(values):
            if value is None:
                columns += bytes(8)
                continue
            head["present"] |= np.uint64(1 << index)
            if isinstance(value, int):
                columns += struct.pack("<Q", value % 2**64)
                continue
            kept, length = value if isinstance(value, tuple) else (value, len(value))
            columns += struct.pack("<HHI", at + len(heap), len(kept), length)
            heap += kept
        given = {"version": 1, "layout": 3, "pid": 5, "tid": 6, "goid": 7, "begin": MONOTONIC, "weight": 1,
                 "ended": int(Ended.OPEN), "used": at + len(heap)}  # fmt: skip
        for name, number in (given | header).items():
            head[name] = number
        return (head.tobytes() + columns + heap).ljust(self.size, b"\0")

    def decode(self, spec: EventSpec | dict[int, EventSpec], *records: bytes, sited: bool = True) -> list[Events]:
        specs = spec if isinstance(spec, dict) else {0: spec}
        clock = Clock(lambda: 0, lambda: UNIX)
        decoder = EventDecoder(self.layout, specs, Names(), clock, sited=sited)
        rows = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), self.size)
        return list(decoder.decode(rows))


def spec(*parts: Part, kind: EventKind = EventKind.PRINT) -> EventSpec:
    return EventSpec(kind, "main.f", arguments=parts)


@pytest.mark.parametrize(
    ("kind", "column", "words", "values"),
    [
        (PartKind.INT, ColumnKind.INT, [5, -5], [5, -5]),
        (PartKind.UINT, ColumnKind.UINT, [5, 2**64 - 1], [5, 2**64 - 1]),
        (PartKind.BOOL, ColumnKind.BOOL, [0, 1], [False, True]),
        (PartKind.DURATION, ColumnKind.INT, [1500, -1], [1500, -1]),
        (PartKind.TIME, ColumnKind.UINT, [0, 7], [UNIX, UNIX + 7]),
        (PartKind.TYPE, ColumnKind.TYPE, [0, 0x30], [None, "type 0x30"]),
        (PartKind.CODE, ColumnKind.UINT, [0x30], ["code 0x30"]),
        (PartKind.SITE, ColumnKind.UINT, [1, 9], ["main.g", UNREADABLE]),
        (PartKind.TEXT, ColumnKind.TEXT, [b"", "é".encode()], ["", "é"]),
        (PartKind.TEXT, ColumnKind.TEXT, [b"\xff", (b"ab", 9)], [Text(b"\xff", 1), Text(b"ab", 9)]),
        (PartKind.BYTES, ColumnKind.UINT, [0x0102], ["0201000000000000"]),
        (PartKind.STACK, ColumnKind.STACK, [struct.pack("<QQ", 1, 2)], [[Frame("0x1", "", 0), Frame("0x2", "", 0)]]),
        (PartKind.VALUE, ColumnKind.VALUE, [b"\1\2", (b"", 4)], ["main.T of 0102", Unavailable("page not in memory")]),
    ],
)
def test_columns(kind: PartKind, column: ColumnKind, words: list[Any], values: list[Any]) -> None:
    records = Records(column)
    part = Part(kind, column=records.columns[0], type="main.T")
    (events,) = records.decode(spec(part), *(records.record(word) for word in words))
    assert events.fields[0].values == values


def test_facets_of_sites() -> None:
    records = Records(ColumnKind.UINT)
    facets = ("func", "pkg", "file", "line", "address")
    parts = [Part(PartKind.SITE, facet=facet, column=records.columns[0]) for facet in facets]  # type: ignore[arg-type]
    (events,) = records.decode(spec(*parts), records.record(1))
    assert [field.values for field in events.fields] == [["main.g"], ["main"], ["/src/main.go"], [20], [0x2000]]


def test_trace_ids_are_two_words() -> None:
    records = Records(ColumnKind.UINT, ColumnKind.UINT)
    (events,) = records.decode(spec(Part(PartKind.BYTES, 16, column=records.columns[0])), records.record(1, 2))
    assert events.fields[0].values == ["01000000000000000200000000000000"]


def test_what_is_absent_says_why() -> None:
    records = Records(ColumnKind.INT, ColumnKind.TEXT)
    number, text = (Part(kind, column=column) for kind, column in
                    zip((PartKind.INT, PartKind.TEXT), records.columns, strict=True))  # fmt: skip
    float_ = Part(PartKind.VALUE, reason="float in X0")
    (events,) = records.decode(
        spec(number, text, float_),
        records.record(1, b"x"),
        records.record(None, None),
        records.record(2, None, flags=int(EventFlags.HEAP_FULL)),
    )
    assert [field.values for field in events.fields] == [
        [1, UNREADABLE, 2],
        ["x", UNREADABLE, NO_ROOM],
        [Unavailable("float in X0")] * 3,
    ]


def test_constants_take_no_column() -> None:
    records = Records()
    parts = [Part(PartKind.CONSTANT, constant="a"), Part(PartKind.DURATION, constant=5)]
    (events,) = records.decode(spec(*parts), records.record(), records.record())
    assert [field.values for field in events.fields] == [["a", "a"], [5, 5]]


def test_the_header() -> None:
    records = Records()
    (events,) = records.decode(
        spec(kind=EventKind.CALL),
        records.record(begin=MONOTONIC, end=MONOTONIC + 50, ended=int(Ended.PANIC), weight=4, site=1, sequence=9),
        records.record(begin=MONOTONIC, end=MONOTONIC + 70, ended=int(Ended.RETURN), goid=0, sequence=11),
    )
    assert events.time == [UNIX + MONOTONIC + 50, UNIX + MONOTONIC + 70]
    assert events.latency == [50, 70]
    assert events.function == ["main.g", "main.f"]
    assert (events.order, events.pid, events.tid) == ([9, 11], [5, 5], [6, 6])
    assert (events.goid, events.weight) == ([7, 0], [4, 1])
    assert [ended_word(one) for one in events.ended] == ["panic", "return"]
    (events,) = records.decode(spec(), records.record(), sited=False)
    assert (events.site, events.function, events.latency, events.time) == ([None], [""], None, [UNIX + MONOTONIC])
    assert ended_word(events.ended[0]) is None


def test_events_of_one_layout_are_told_apart() -> None:
    records = Records(ColumnKind.INT)
    part = Part(PartKind.INT, column=records.columns[0])
    specs = {0: spec(part), 1: spec(kind=EventKind.STOP)}
    made = [records.record(1), records.record(2, event=1), records.record(3), records.record(4, event=7)]
    first, second = records.decode(specs, *made)
    assert (first.spec, [field.values for field in first.fields]) == (specs[0], [[1, 3]])
    assert (second.spec, len(second)) == (specs[1], 1)


def test_instances_of_generic_functions() -> None:
    records = Records(ColumnKind.UINT)
    one = EventSpec(EventKind.CALL, "main.Map", dictionary=records.columns[0], instances=((0x5000, "main.Map[int]"),))
    (events,) = records.decode(one, records.record(0x5000 + Names.bias), records.record(0x6000 + Names.bias))
    assert events.function == ["main.Map[int]", "main.f"]


@pytest.mark.parametrize("seed", range(30))
def test_damage_costs_nothing_but_values(seed: int) -> None:
    """Whatever a record holds behind its header."""
    choose = np.random.default_rng(seed)
    records = Records(ColumnKind.TEXT, ColumnKind.STACK, ColumnKind.VALUE, ColumnKind.UINT)
    kinds = (PartKind.TEXT, PartKind.STACK, PartKind.VALUE, PartKind.TYPE)
    parts = [Part(kind, column=column) for kind, column in zip(kinds, records.columns, strict=True)]
    damaged = bytearray(records.record(b"abc", bytes(16), b"x", 5, chunks=200))
    damaged[HEADER.itemsize :] = choose.bytes(len(damaged) - HEADER.itemsize)
    damaged[6:8] = choose.bytes(2)
    (events,) = records.decode(spec(*parts), bytes(damaged))
    assert [len(field.values) for field in events.fields] == [1, 1, 1, 1]


def test_events_about_another_goroutine_than_the_running_one() -> None:
    records = Records(ColumnKind.UINT, ColumnKind.UINT)
    goid, func = (Part(kind, column=column) for kind, column in
                  zip((PartKind.UINT, PartKind.CODE), records.columns, strict=True))  # fmt: skip
    one = EventSpec(EventKind.CALL, "goroutine:create", goid=goid, func=func)
    (events,) = records.decode(one, records.record(35, 0x5000), records.record(None, None))
    assert (events.goid, events.function) == ([35, 0], ["code 0x5000", "main.f"])
