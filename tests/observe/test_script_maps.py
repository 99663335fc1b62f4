"""What scripts do with maps, in the kernel: keys of every kind, aggregations, epochs, and what is read back."""

from __future__ import annotations

import ctypes
import os
import random
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from gotap.bpf.asm import R0, R7, Assembler
from gotap.bpf.codegen.script import buckets
from gotap.bpf.codegen.script.keys import KeyTooLong
from gotap.bpf.codegen.script.scriptmaps import NoOtherCpus, ScriptMapEmitter
from gotap.observe.scriptmaps import Entry
from gotap.probe import ir
from gotap.probe.record import TEXT as TEXT_COLUMN
from gotap.probe.record import Column, ColumnKind, Layout
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind
from gotap.probe.script.record import EVENT
from gotap.probe.script.routine import ClearMap, Remove, Store, Tally
from gotap.signals.maps.buckets import linear, log_linear_range
from kernel_access import needs_bpf
from script_map_programs import ANSWER, INT, TARGET, TEXT, UINT, Bench, Text, answer, emit, program, spec


@pytest.fixture(params=[pytest.param(False, id="kernel", marks=[pytest.mark.root, needs_bpf]),
                        pytest.param(True, id="interpreter")], autouse=True)  # fmt: skip
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Each test runs in both."""
    monkeypatch.setattr(Bench, "interpreted", request.param)
    return bool(request.param)


VALUE = MapKind.VALUE
NOWHERE = ir.Load(ir.Const(8), 0, 8, False, False)


def text_key(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q128s", len(text) if length is None else length, text[:128])


def word(value: int) -> bytes:
    return struct.pack("<Q", value & (1 << 64) - 1)


def by_key(entries: list[Entry]) -> dict[tuple[bytes, ...], Entry]:
    assert {entry.target for entry in entries} <= {TARGET}
    found = {entry.parts: entry for entry in entries}
    assert len(found) == len(entries)
    return found


def tally(value: int, *keys: ir.Key, signed: bool = False, map: int = 0) -> Tally:
    return Tally(map, keys, ir.Const(value), signed)


@pytest.mark.parametrize("part", [UINT, INT])
def test_statistics_are_those_of_all_values(part: Part) -> None:
    random.seed(4)
    low = -(1 << 40) if part is INT else 0
    values = [random.randrange(low, 1 << 40) for _ in range(40)] + ([-1, 0] if part is INT else [0, 2**64 - 1])
    with Bench(spec(MapKind.STATS, UINT, value=part)) as bench:
        for value in values:
            assert bench.do(tally(value, ir.Const(value % 3)))
        found = by_key(bench.maps.read(0))
    for rest in range(3):
        mine = [value for value in values if value % 3 == rest]
        entry = found[(word(rest),)]
        total = sum(mine) if part is INT else sum(mine) % 2**64
        assert (entry.count, entry.sum, entry.least, entry.greatest) == (len(mine), total, min(mine), max(mine))


def test_each_cpu_counts_for_itself_and_is_added_up() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    with Bench(spec(MapKind.MIN, value=INT), spec(MapKind.MAX, value=INT, number=1)) as bench:
        for index, cpu in enumerate(cpus):
            bench.do(tally(-5 - index), tally(-5 - index, map=1), cpu=cpu)
        assert [entry.least for entry in bench.maps.read(0)] == [-5 - len(cpus) + 1]
        assert [entry.greatest for entry in bench.maps.read(1)] == [-5]
        for map, expected in ((0, -5 - len(cpus) + 1), (1, -5)):
            assert bench.stored(map) == expected % 2**64


@pytest.mark.parametrize("kind", [kind for kind in MapKind if kind is not VALUE])
def test_every_kind_keeps_what_it_needs(kind: MapKind) -> None:
    bucket = UINT if kind in (MapKind.HIST, MapKind.LHIST, MapKind.QUANTILE, MapKind.TOP, MapKind.TSERIES) else None
    with Bench(spec(kind, UINT, bucket=bucket)) as bench:
        keys = (ir.Const(1), ir.Const(9))[: 1 if bucket is None else 2]
        for value in (3, 7):
            bench.do(tally(value, *keys))
        (entry,) = bench.maps.read(0)
    assert entry.count == 2
    assert entry.sum == (10 if kind in (MapKind.SUM, MapKind.AVG, MapKind.STATS, MapKind.TSERIES) else 0)
    assert entry.least == (3 if kind in (MapKind.STATS, MapKind.MIN, MapKind.TSERIES) else 0)
    assert entry.greatest == (7 if kind in (MapKind.STATS, MapKind.MAX, MapKind.QUANTILE, MapKind.TSERIES) else 0)


def test_weights_multiply() -> None:
    with Bench(spec(MapKind.STATS)) as bench:

        def thinned(asm: Assembler, maps: ScriptMapEmitter) -> None:
            with maps.words.temporary() as weight:
                asm.mov(R0, 10)
                maps.words.keep(weight, R0)
                maps.tally(tally(7), "fail", weight)

        bench.run(thinned)
        assert bench.maps.read(0) == [Entry(TARGET, (), b"", 10, 70, 7, 7)]


# -- keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 127, 128, 129, 4000])
def test_texts_of_the_process(length: int) -> None:
    """What stood in the scratch before is not in the key."""
    longer, text = Text(b"y" * 128), Text(bytes(range(1, 251)) * 16)
    counted = ir.Text(text.text.pointer, ir.Const(length))
    with Bench(spec(MapKind.COUNT, TEXT)) as bench:
        for one in (longer.text, counted):
            assert bench.do(tally(1, one))
        content = (bytes(range(1, 251)) * 16)[:length]
        assert by_key(bench.maps.read(0)).keys() == {(text_key(b"y" * 128),), (text_key(content, length),)}


def test_texts_of_the_kernel() -> None:
    name = f"h4-{os.getpid()}"
    column = Column("text", ColumnKind.TEXT, 3, 200)
    layout = Layout("test", 1, (*(Column(f"c{i}", ColumnKind.INT, i) for i in range(3)), column))
    kept = b"kept in the frame, then something else"
    c_text = Text(b"ends with zero")
    with Bench(spec(MapKind.COUNT, TEXT), spec(VALUE, UINT, value=TEXT, number=1)) as bench:
        place = layout.columns[3].offset
        fields = EVENT.fields
        assert fields is not None
        bench.write_frame(int(fields["present"][1]), word(1 << column.index))
        bench.write_frame(place, heap_text(301, 17, 400))
        bench.write_frame(301, kept)
        bench.do(Store(1, (ir.Const(5),), ir.ConstText(b"stored")))
        cases: dict[ir.AnyText, bytes] = {
            ir.ConstText(b"constant"): text_key(b"constant"),
            ir.ConstText(b"z" * 300): text_key(b"z" * 128, 300),
            ir.AmbientText("comm"): text_key(name.encode()[:15]),
            ir.CText(ir.Const(c_text.address), 64): text_key(b"ends with zero"),
            ir.CText(ir.Const(c_text.address), 5): text_key(b"ends"),
            ir.KeptText(column): text_key(kept[:17], 400),
            ir.StoredText(1, (ir.Const(5),)): text_key(b"stored"),
        }
        with ThreadName(name):
            for text in cases:
                assert bench.do(tally(1, text))
        assert by_key(bench.maps.read(0)).keys() == {(key,) for key in cases.values()}
        assert not bench.do(tally(1, ir.StoredText(1, (ir.Const(6),))))


def heap_text(offset: int, kept: int, length: int) -> bytes:
    """As record.TEXT."""
    return np.array((offset, kept, length), TEXT_COLUMN).tobytes()


class ThreadName:
    """The thread is called so meanwhile."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _set(self, name: str) -> str:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "r+") as file:
            old = file.read().strip()
            file.seek(0)
            file.write(name)
        return old

    def __enter__(self) -> None:
        self.old = self._set(self.name)

    def __exit__(self, *_: object) -> None:
        self._set(self.old)


def test_a_part_that_cannot_be_had_fails_and_stores_nothing() -> None:
    unreadable = ir.Text(ir.Const(8), ir.Const(3))
    with Bench(spec(MapKind.COUNT, UINT, TEXT)) as bench:
        cases: list[tuple[ir.Key, ...]] = [
            (NOWHERE, ir.ConstText(b"")),
            (ir.Const(1), unreadable),
            (ir.Const(1), ir.CText(ir.Const(8), 8)),
        ]
        for keys in cases:
            assert not bench.do(tally(1, *keys))
        assert bench.maps.read(0) == []


def test_a_type_is_unrelocated_and_nil_stays_nil() -> None:
    with Bench(spec(MapKind.COUNT, Part(PartKind.TYPE))) as bench:

        def biased(asm: Assembler, maps: ScriptMapEmitter) -> None:
            maps.words.bias = 0x555500000000
            for address in (0x555500001234, 0):
                maps.tally(tally(1, ir.Const(address)), "fail")

        assert bench.run(biased)
        assert by_key(bench.maps.read(0)).keys() == {(word(0x1234),), (word(0),)}


def test_bytes_are_several_words() -> None:
    with Bench(spec(MapKind.COUNT, Part(PartKind.BYTES, 16), UINT)) as bench:
        bench.do(tally(1, ir.Const(1), ir.Const(2), ir.Const(3)))
        assert by_key(bench.maps.read(0)).keys() == {(word(1) + word(2), word(3))}


def test_a_key_within_a_key() -> None:
    """@a[@b[3], "text"], where @b is read with a text of its own."""
    inner = ir.Stored(1, (ir.ConstText(b"inner"), ir.Const(3)))
    with Bench(spec(MapKind.COUNT, UINT, TEXT), spec(VALUE, TEXT, UINT, number=1)) as bench:
        bench.do(Store(1, inner.keys, ir.Const(77)))
        assert bench.do(tally(1, inner, ir.ConstText(b"outer")))
        assert by_key(bench.maps.read(0)).keys() == {(word(77), text_key(b"outer"))}


def test_keys_that_are_too_long_are_refused_with_the_reason() -> None:
    long = spec(MapKind.COUNT, *[Part(PartKind.TEXT, 8 + 1024)] * 3)
    with pytest.raises(KeyTooLong, match="at most"):
        program([long], lambda asm, maps: emit(maps, [tally(1, *[ir.ConstText(b"")] * 3)]), 1)


# -- values -----------------------------------------------------------------------------------------------------


def test_values_are_stored_added_to_and_removed() -> None:
    key = (ir.Const(1),)
    with Bench(spec(VALUE, UINT, value=INT)) as bench:
        for statement, expected in (
            (Store(0, key, ir.Const(-3), add=True), -3),
            (Store(0, key, ir.Const(10), add=True), 7),
            (Store(0, key, ir.Const(2)), 2),
        ):
            assert bench.do(statement)
            assert [entry.value for entry in bench.maps.read(0)] == [word(expected)]
            assert bench.stored(0, *key) == expected % 2**64
        assert bench.do(Remove(0, key))
        assert bench.do(Remove(0, key))
        assert bench.maps.read(0) == []
        assert bench.stored(0, *key) == 0


def test_a_full_map_counts_what_it_cannot_take() -> None:
    with Bench(spec(MapKind.COUNT, UINT, entries=4), spec(VALUE, UINT, number=1, entries=4)) as bench:
        for key in range(200):
            assert bench.do(tally(1, ir.Const(key)), Store(1, (ir.Const(key),), ir.Const(1)))
        kept = len(bench.maps.read(0)) + len(bench.maps.read(1))
        assert bench.full() == 400 - kept
        assert kept == 8


# -- epochs -----------------------------------------------------------------------------------------------------


def test_what_is_stored_after_a_clear_belongs_to_the_next_epoch() -> None:
    def body(asm: Assembler, maps: ScriptMapEmitter) -> None:
        maps.tally(tally(1, ir.Const(1)), "fail")
        maps.tally(tally(1, ir.Const(2)), "fail")
        maps.epoch(0)
        answer(asm)
        maps.clear(ClearMap(0))
        maps.tally(tally(1, ir.Const(3)), "fail")

    with Bench(spec(MapKind.COUNT, UINT), spec(MapKind.COUNT, UINT, number=1)) as bench:
        bench.run(body)
        assert bench.answer() == 0
        assert bench.maps.epoch(0) == 1
        assert bench.maps.epoch(1) == 0
        assert by_key(bench.maps.read(0, 0)).keys() == {(word(1),), (word(2),)}
        assert by_key(bench.maps.read(0)).keys() == {(word(3),)}
        assert bench.maps.forget(0, 1) == 2
        assert bench.maps.read(0, 0) == []
        assert by_key(bench.maps.read(0, 1)).keys() == {(word(3),)}
        assert bench.stored(0, ir.Const(1)) == 0  # it was cleared


class Positions:
    """A ring that somebody writes and reads."""

    def __init__(self) -> None:
        self.read_bytes = self.written_bytes = 0


def test_epochs_that_ended_are_given_up_when_their_events_have_been_read() -> None:
    ring = Positions()
    with Bench(spec(MapKind.COUNT, UINT), cleared=[0]) as bench:
        for epoch in range(4):
            bench.do(tally(1, ir.Const(epoch)))
            left = [bool(bench.maps.read(0, one)) for one in range(epoch + 1)]
            assert left == [one >= epoch - 1 for one in range(epoch + 1)]
            bench.do(ClearMap(0))
            ring.written_bytes += 64
            bench.maps.tidy(ring)
            ring.read_bytes = ring.written_bytes


def test_epochs_stay_as_long_as_events_of_theirs_have_not_been_read() -> None:
    ring = Positions()
    with Bench(spec(MapKind.COUNT, UINT), cleared=[0]) as bench:
        bench.do(tally(1, ir.Const(1)))
        bench.do(ClearMap(0))
        ring.written_bytes = 64
        for read in (0, 8, 56):
            ring.read_bytes = read
            bench.maps.tidy(ring)
            assert bench.maps.read(0, 0)
        ring.read_bytes = 64
        bench.maps.tidy(ring)
        assert not bench.maps.read(0, 0)


def test_a_map_that_is_cleared_has_room_for_what_has_not_been_read_yet() -> None:
    with Bench(spec(MapKind.COUNT, UINT, entries=8), cleared=[0]) as bench:
        for epoch in range(2):
            assert all(bench.do(tally(1, ir.Const(key))) for key in range(8))
            assert len(bench.maps.read(0, epoch)) == 8
            bench.do(ClearMap(0))


def test_old_intervals_of_a_time_series_are_given_up() -> None:
    with Bench(spec(MapKind.TSERIES, TEXT, bucket=UINT, parameters=(1000, 3, 0))) as bench:
        for number in (5, 6, 7, 8, 9):
            bench.do(tally(1, ir.ConstText(b"a"), ir.Const(number)))
        assert bench.maps.trim(0) == 2
        assert {entry.parts[1] for entry in bench.maps.read(0)} == {word(7), word(8), word(9)}


def test_aggregations_are_not_read_where_the_kernel_shows_one_cpu() -> None:
    with pytest.raises(NoOtherCpus, match="cannot be read"):
        program([spec(MapKind.COUNT)], lambda asm, maps: maps.stored(ir.Stored(0, ()), "fail"), 0)


# -- buckets ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(spec(MapKind.COUNT)) as made:
        yield made


def emitted(bench: Bench, word: ir.Linear | ir.LogLinear, value: int) -> int:
    """The bucket, as a signed number."""

    def body(asm: Assembler, maps: ScriptMapEmitter) -> None:
        asm.load(R0, R7, ANSWER + 24)
        if isinstance(word, ir.Linear):
            buckets.linear(asm, word)
        else:
            buckets.log_linear(asm, word)
        answer(asm)

    bench.write_frame(ANSWER + 24, (value & (1 << 64) - 1).to_bytes(8, "little"))
    bench.run(body)
    return ctypes.c_int64(bench.answer()).value


INTERESTING = [0, 1, 2, 3, 4, 31, 32, 33, 63, 64, 65, 1000, 1023, 1024, 2**31, 2**40 + 12345, 2**62, 2**63 - 1]


@pytest.mark.parametrize("bits", range(6))
def test_log_linear_buckets_hold_their_values(bench: Bench, bits: int) -> None:
    for value in [*INTERESTING, 2**63, 2**64 - 1]:
        start, end = log_linear_range(emitted(bench, ir.LogLinear(ir.Const(0), bits), value), bits)
        assert start <= value < end
        assert (end - start) << bits <= max(start, 1 << bits)
    for value in [*(-one for one in INTERESTING), -(2**63)]:
        start, end = log_linear_range(emitted(bench, ir.LogLinear(ir.Const(0), bits, True), value), bits)
        assert start <= value < end


@pytest.mark.parametrize(("low", "high", "step"), [(0, 100, 10), (-50, 55, 10), (5, 6, 1), (0, 10**12, 10**10)])
def test_linear_buckets_hold_their_values(bench: Bench, low: int, high: int, step: int) -> None:
    for value in [low - 1, low, low + step - 1, low + step, high - 1, high, high + 1, -(2**63), 2**63 - 1]:
        number = emitted(bench, ir.Linear(ir.Const(0), low, high, step), value)
        (bucket,) = linear({number: 1}, low, high, step).buckets
        assert bucket.start is None or bucket.start <= value
        assert bucket.end is None or value < bucket.end
        assert (bucket.start is None) == (value < low)
        assert (bucket.end is None) == (value >= high)


def test_the_maps_are_as_large_as_was_asked_for() -> None:
    one: MapSpec = spec(MapKind.COUNT, TEXT, entries=16)
    with Bench(one) as bench:
        assert bench.maps.memory() > 0
        assert bench.maps.by_name.keys() == {"map0", "epochs"}
