"""Generated programs in the BPF interpreter: words, conditions, edges, wrapped errors."""

from __future__ import annotations

import struct

import pytest

from codegen_process import Heap, Process, begin, end, kept, number
from codegen_samples import (
    ARGUMENT,
    KIND,
    PATH,
    REQUEST,
    SP,
    STATUS,
    TARGET,
    capture,
    load,
    text,
)
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.program import Place
from gotap.image.code import CONDITIONS, Constant, Edge, Location, Register, Stack
from gotap.probe import ir


def test_conditions_choose_the_alternative() -> None:
    process = Process()
    process.memory.write(REQUEST, struct.pack("<QQQ", 7, 200, 404))
    tried = ir.Capture(
        STATUS,
        (
            ir.Alternative((ir.Compare("==", load(ARGUMENT), ir.StaticAddress(8), False),), load(ARGUMENT, 8)),
            ir.Alternative((ir.Not(ir.Compare("<", load(ARGUMENT), ir.Const(7), True)),), load(ARGUMENT, 16)),
        ),
    )
    process.run(begin())
    process.run(end(tried))
    assert number(process.records()[0][1], STATUS) == 404


def test_loads_through_nil_are_absent() -> None:
    process = Process()
    process.memory.write(REQUEST, bytes(64))
    process.run(begin(capture(STATUS, load(load(ARGUMENT, 8), 24)), capture(PATH, text(load(ARGUMENT, 16)))))
    process.run(end())
    [(_, record)] = process.records()
    assert number(record, STATUS) is None
    assert kept(record, PATH) is None


@pytest.mark.parametrize("condition", range(16))
def test_an_edge_counts_only_its_direction(condition: int) -> None:
    for taken in (False, True):
        edge = Edge(condition, taken)
        for flags in (0, 1, 4, 0x40, 0x80, 0x800, 0x880, 0x8C0, 0x41, 0xFFF):
            process = Process()
            process.run(begin(), Place({}, edge, 0), rflags=flags)
            assert process.count(Counter.BEGUN) == edge.counts(flags), (CONDITIONS[condition], taken, hex(flags))


def test_words_are_found_wherever_the_site_has_them() -> None:
    places: list[tuple[Location, int, bool, int]] = [
        (Register("rbx"), 8, False, 0x1122334455667788),
        (Register("rbx"), 2, False, 0x7788),
        (Register("rcx"), 1, True, -1),
        (Stack(24), 8, False, 77),
        (Constant(2**64 - 3), 8, True, -3),
    ]
    for location, size, signed, expected in places:
        process = Process()
        process.memory.write(SP + 24, struct.pack("<Q", 77))
        word = ir.Input("result", 0, 0, size, signed)
        process.run(begin())
        registers = {"rbx": 0x1122334455667788, "rcx": 0xFF}
        process.run(end(capture(STATUS, word)), Place({word: location}, None, 0), **registers)
        assert number(process.records()[0][1], STATUS) == expected


def test_wrapped_errors_are_followed_to_the_cause() -> None:
    process = Process()
    heap = Heap(process.memory)
    outer, inner, cause = 0x5000, 0x5100, 0x5200  # unrelocated type addresses
    bias = TARGET.bias

    def interface(type: int, data: int) -> bytes:
        return struct.pack("<QQ", heap.put(struct.pack("<QQ", 0, type + bias)), data)

    errno = heap.put(struct.pack("<Q", 111))
    middle = heap.put(bytes(16) + interface(cause, errno))
    top = heap.put(interface(inner, middle))
    process.memory.write(REQUEST, interface(outer, top))
    itab, data = load(ARGUMENT), load(ARGUMENT, 8)
    wrappers = ((outer, 0), (inner, 16))
    parts = [ir.Unwrapped(load(itab, 8), data, wrappers, part) for part in (0, 1)]
    process.run(begin())
    is_cause = ir.Compare("==", parts[0], ir.StaticAddress(cause), False)
    process.run(end(capture(KIND, parts[0]), capture(STATUS, load(parts[1]), is_cause)))
    [(_, record)] = process.records()
    assert number(record, KIND) == cause
    assert number(record, STATUS) == 111


def test_no_error_has_no_type() -> None:
    process = Process()
    process.memory.write(REQUEST, bytes(16))
    parts = ir.Unwrapped(load(load(ARGUMENT), 8), load(ARGUMENT, 8), ((0x5000, 0),), 0)
    process.run(begin())
    process.run(end(capture(KIND, parts)))
    assert number(process.machine.ring[0], KIND) is None
