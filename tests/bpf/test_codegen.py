"""Generated programs in the BPF interpreter: rows, records, pairing of begin and end."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from msgspec.structs import replace

from codegen_process import Process, begin, end, kept, number
from codegen_samples import (
    ARGUMENT,
    GOID,
    LAYOUT,
    PATH,
    QUERY,
    REQUEST,
    SP,
    STATUS,
    TGID,
    capture,
    text,
)
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.program import Place
from gotap.probe import ir
from gotap.probe.record import SIZE_CLASSES, TEXT, Column, ColumnKind, Layout

LONG, MORE = (Column(name, ColumnKind.TEXT, index, 320) for name, index in (("long", 6), ("more", 7)))
LAST = Column("last", ColumnKind.TEXT, 8, 16)
LARGE = Layout("large", 1, (*LAYOUT.columns, LONG, MORE, LAST))
ROOM = frame.FIRST_PART - LARGE.heap_offset  # for texts in the row


def test_a_begin_and_an_end_make_one_record() -> None:
    process = Process()
    process.memory.write(REQUEST, struct.pack("<QQ", 0xC000020000, 6))
    process.memory.write(0xC000020000, b"/hello")
    process.run(begin(capture(PATH, text(ARGUMENT))))
    assert process.records() == []
    process.run(end(capture(STATUS, ir.Const(-5)), outcome=2))
    [(header, record)] = process.records()
    assert len(record) == SIZE_CLASSES[0]
    assert (header["pid"], header["target"], header["operation"], header["outcome"]) == (TGID, 3, 1, 2)
    assert header["goid"] == GOID
    assert header["begin"] < header["end"]
    assert kept(record, PATH) == b"/hello"
    assert number(record, STATUS) == -5
    assert process.machine.maps[frame.ROWS].values == {}
    assert process.machine.maps[frame.SCOPES].values == {}
    assert process.count(Counter.BEGUN) == process.count(Counter.ENDED) == 1


def test_another_process_is_left_alone() -> None:
    process = Process()
    process.machine.pid_tgid = 99 << 32
    process.run(begin())
    assert process.machine.maps[frame.ROWS].values == {}


def test_an_end_without_a_begin_is_counted_and_emits_nothing() -> None:
    process = Process()
    process.run(end())
    assert process.records() == []
    assert process.count(Counter.NO_BEGIN) == 1


def test_a_cut_text_keeps_its_length_and_an_unreadable_one_is_absent() -> None:
    process = Process()
    process.memory.write(REQUEST, struct.pack("<QQQQ", 0xC000020000, 100, 0xDEAD0000, 3))
    process.memory.write(0xC000020000, b"x" * 100)
    process.run(begin(capture(PATH, text(ARGUMENT)), capture(QUERY, text(ARGUMENT, 16))))
    process.run(end())
    [(_, record)] = process.records()
    assert kept(record, PATH) == b"x" * 64
    assert np.frombuffer(record[PATH.offset : PATH.offset + 8], TEXT)[0]["length"] == 100
    assert kept(record, QUERY) is None


def test_texts_choose_the_record_size() -> None:
    process = Process()
    process.memory.write(REQUEST, struct.pack("<QQ", 0xC000020000, 400))
    process.memory.write(0xC000020000, b"q" * 400)
    process.run(begin(capture(QUERY, text(ARGUMENT))))
    process.run(end())
    [(_, record)] = process.records()
    assert len(record) == SIZE_CLASSES[2]
    assert kept(record, QUERY) == b"q" * 400


@pytest.mark.parametrize("length", [0, 1, 511, 512])
@pytest.mark.parametrize("heap", [0, ROOM - 513, ROOM - 512, ROOM - 511, ROOM - 1, ROOM, ROOM + 1])
def test_texts_go_on_in_a_whole_record_when_the_row_is_full(heap: int, length: int) -> None:
    process = Process()
    texts = [b"a" * (heap // 2), b"b" * (heap - heap // 2), b"c" * length, b"last"]
    columns = (LONG, MORE, QUERY, LAST)
    for index, one in enumerate(texts):
        process.memory.write(0xC000020000 + 0x1000 * index, one + b"!")
        process.memory.write(REQUEST + 16 * index, struct.pack("<QQ", 0xC000020000 + 0x1000 * index, len(one)))
    first, second, third, fourth = (capture(column, text(ARGUMENT, 16 * at)) for at, column in enumerate(columns))
    process.run(replace(begin(first, second, third), layout=LARGE))
    assert bool(process.machine.maps[frame.SPILL].values) == (heap + length > ROOM)
    process.run(replace(end(fourth), layout=LARGE))
    [(header, record)] = process.records()
    assert len(record) == next(size for size in SIZE_CLASSES if header["used"] <= size)
    assert [kept(record, column) for column in columns] == texts
    assert process.machine.maps[frame.SPILL].values == process.machine.maps[frame.ROWS].values == {}


def test_what_went_to_a_whole_record_is_given_back_with_a_discarded_operation() -> None:
    process = Process()
    process.memory.write(REQUEST, struct.pack("<QQ", 0xC000020000, 512))
    process.memory.write(0xC000020000, b"x" * 512)
    process.run(replace(begin(capture(QUERY, text(ARGUMENT)), capture(LONG, text(ARGUMENT))), layout=LARGE))
    assert len(process.machine.maps[frame.SPILL].values) == 1
    process.run(replace(end(), discard=True))
    assert process.machine.maps[frame.SPILL].values == {}
    assert process.records() == []


def test_a_begin_deeper_in_the_stack_is_part_of_the_open_operation() -> None:
    process = Process()
    process.run(begin())
    process.run(begin(), rsp=SP - 0x100)
    assert process.count(Counter.NESTED) == 1
    process.run(begin())  # the same depth again: the end of the first was missed
    assert process.count(Counter.STALE) == 1
    assert process.count(Counter.BEGUN) == 2


@pytest.mark.parametrize("by_depth", [False, True])
def test_what_a_missed_end_left_behind_goes_with_its_row(by_depth: bool) -> None:
    process = Process()
    process.memory.write(REQUEST, struct.pack("<QQ", 0xC000020000, 512))
    process.memory.write(0xC000020000, b"x" * 512)
    long = begin(capture(QUERY, text(ARGUMENT)), capture(LONG, text(ARGUMENT)), by_depth=by_depth)
    process.run(replace(long, layout=LARGE))
    assert len(process.machine.maps[frame.SPILL].values) == 1
    process.run(replace(begin(by_depth=by_depth), layout=LARGE))
    assert process.machine.maps[frame.SPILL].values == {}
    assert (process.count(Counter.BEGUN), process.count(Counter.STALE)) == (2, 1)
    process.run(replace(end(by_depth=by_depth), layout=LARGE))
    assert len(process.records()) == 1
    for name in (frame.ROWS, frame.SPILL, frame.SCOPES):
        assert process.machine.maps[name].values == {}


def test_recursion_is_paired_by_depth() -> None:
    process = Process()
    for depth in (0, 0x80, 0x100):
        process.run(begin(by_depth=True), rsp=SP - depth)
    place = Place({}, None, 16)  # ends stand 16 bytes below the entry's SP
    for depth in (0x100, 0x80, 0):
        process.run(end(by_depth=True), place, rsp=SP - depth - 16)
    assert len(process.records()) == 3
    assert process.count(Counter.NO_BEGIN) == 0


def test_a_full_ring_is_counted_and_the_row_freed() -> None:
    process = Process(ring=4096)
    for _ in range(40):
        process.run(begin())
        process.run(end())
    assert process.count(Counter.RING_FULL) == process.count(Counter.ENDED) - len(process.machine.ring) > 0
    assert process.machine.maps[frame.ROWS].values == {}


def test_rows_run_out_and_are_counted() -> None:
    process = Process()
    for depth in range(12):
        process.run(begin(by_depth=True), rsp=SP - 0x100 * depth)
    assert process.count(Counter.ROWS_FULL) == 4
    assert process.count(Counter.BEGUN) == 8
