"""Generated programs in the BPF interpreter: aggregation in the kernel."""

from __future__ import annotations

import struct

from codegen_process import MAP, Heap, Process
from codegen_samples import (
    ARGUMENT,
    CONTEXT_ARGUMENT,
    SWISS,
    load,
)
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.program import Place
from gotap.image.code import Register
from gotap.probe import ir


def aggregated(process: Process) -> dict[tuple[int, ...], tuple[int, ...]]:
    """(process, table, keys…) → (count, sum, minimum, maximum)."""
    values = process.machine.maps[frame.AGGREGATES].values
    return {struct.unpack("<II4Q", key): struct.unpack("<4Q", bytes(value)[:32]) for key, value in values.items()}


def test_values_are_added_up_under_their_keys() -> None:
    process = Process()
    for function, table in (("count", 1), ("sum", 2), ("min", 3), ("max", 4)):
        for value, key in ((5, 7), (3, 7), (9, 7), (100, 8)):
            place = Place({ARGUMENT: Register("rax"), CONTEXT_ARGUMENT: Register("rbx")}, None, 0)
            process.run(ir.Aggregate(table, function, (CONTEXT_ARGUMENT,), ARGUMENT), place, rax=value, rbx=key)
    found = aggregated(process)
    counts = {key: value[0] for key, value in found.items() if key[1] == 1}
    assert counts == {(3, 1, 7, 0, 0, 0): 3, (3, 1, 8, 0, 0, 0): 1}
    assert found[3, 2, 7, 0, 0, 0][1] == 17
    assert ~found[3, 3, 7, 0, 0, 0][2] % 2**64 == 3
    assert found[3, 4, 7, 0, 0, 0][3] == 9
    assert ~found[3, 3, 8, 0, 0, 0][2] % 2**64 == found[3, 4, 8, 0, 0, 0][3] == 100


def test_all_four_keys_tell_values_apart_on_every_cpu() -> None:
    process = Process()
    keys = tuple(ir.Const(number) for number in (1, 2, 3, 77))
    for process.machine.cpu, value in ((0, 105), (1, 205)):
        process.run(ir.Aggregate(5, "min", keys, ARGUMENT), rax=value)
    assert list(aggregated(process)) == [(3, 5, 1, 2, 3, 77)]
    values = process.machine.maps[frame.AGGREGATES].cpu_values
    least = [~struct.unpack_from("<Q", bytes(one), 16)[0] % 2**64 for cpu in values for one in cpu.values()]
    assert least == [105, 205]


def test_a_histogram_is_a_count_by_power_of_two() -> None:
    process = Process()
    values = [0, 1, 2, 3, 4, 1000, 1023, 1024, 2**40, 2**64 - 1]
    for value in values:
        process.run(ir.Aggregate(1, "count", (ir.Log2(ARGUMENT),), ir.Const(1)), rax=value)
    expected: dict[int, int] = {}
    for value in values:
        bucket = max(value.bit_length() - 1, 0)
        expected[bucket] = expected.get(bucket, 0) + 1
    assert {key[2]: value[0] for key, value in aggregated(process).items()} == expected


def test_an_aggregation_reads_maps_and_leaves_no_row_behind() -> None:
    process = Process()
    heap = Heap(process.memory)
    process.memory.write(MAP, heap.swiss({b"Kind": b"four", b"Other": b"x"}, SWISS))
    element = load(ir.MapElement(ARGUMENT, SWISS, b"Kind"))
    only = ir.TextEquals(ir.Text(load(element), load(element, 8)), b"four")
    process.run(ir.Aggregate(1, "sum", (), load(element, 8), (only,)), rax=MAP)
    process.run(ir.Aggregate(2, "sum", (), load(element, 8), (ir.Not(only),)), rax=MAP)
    assert {key[1]: value[:2] for key, value in aggregated(process).items()} == {1: (1, 4)}
    assert process.machine.maps[frame.ROWS].values == {}
