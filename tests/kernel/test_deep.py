"""Deep captures follow each kind of pointer, within the limits: in the interpreter and in the kernel, loop or none."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

import deep_capture
from deep_capture import HEAP, Capture, Heap, Table, column, pointers, value
from gotap.bpf.codegen.script import deep_memory, script_frame
from gotap.probe import ir
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import EVENT, EventFlags
from gotap.probe.script.routine import CaptureValue
from gotap.probe.shapes_table import HeadFlags, Pointer, PointerFlags, Shape, What, function_shapes
from kernel_access import needs_bpf

_IN_KERNEL = [pytest.mark.root, needs_bpf]


@pytest.fixture(
    params=[
        pytest.param((deep_capture.interpreted, True), id="interpreter"),
        pytest.param((deep_capture.interpreted, False), id="interpreter no loop"),
        pytest.param((deep_capture.by_the_kernel, True), id="kernel", marks=_IN_KERNEL),
        pytest.param((deep_capture.by_the_kernel, False), id="kernel no loop", marks=_IN_KERNEL),
    ]
)
def capture(request: pytest.FixtureRequest) -> Capture:
    return Capture(*request.param)


@pytest.fixture
def heap() -> Heap:
    return Heap()


def word(number: int) -> bytes:
    return struct.pack("<Q", number)


STRING = pointers(Pointer(0, What.STRING), size=16)


def test_a_string_comes_with_its_bytes(capture: Capture, heap: Heap) -> None:
    text = heap.string(b"hello, world")
    found = capture(heap, Table([STRING]), [value(0, 1, text)])
    assert found.columns[0] == (16, text)
    assert found.chunks == [(int.from_bytes(text[:8], "little"), 12, b"hello, world")]
    assert not found.flags


def test_a_long_string_is_cut_and_says_how_long_it_was(capture: Capture, heap: Heap) -> None:
    text = heap.string(bytes(range(256)) * 4)
    [(_, full, data)] = capture(heap, Table([STRING]), [value(0, 1, text)], limits=Limits(text=100)).chunks
    assert full == 1024
    assert data == bytes(range(100))


def test_a_limit_beyond_what_is_read_at_once(capture: Capture, heap: Heap) -> None:
    """Texts are one chunk, however long; the part of it that is not in memory is missing."""
    text = bytes(index * 7 & 0xFF for index in range(13_000))
    place = heap.put(text)
    for limit in (4096, 4097, 10_000, 13_000):
        found = capture(heap, Table([STRING]), [value(0, 1, word(place) + word(13_000))], limits=Limits(text=limit))
        assert found.chunks == [(place, 13_000, text[:limit])]
    end = heap.start + deep_capture.SIZE
    heap.write(end - 6000, text[:6000])
    found = capture(heap, Table([STRING]), [value(0, 1, word(end - 6000) + word(9000))], limits=Limits(text=9000))
    assert found.chunks == [(end - 6000, 9000, text[:6000])]


def test_lengths_that_make_no_sense_take_nothing_or_what_is_there(capture: Capture, heap: Heap) -> None:
    place = heap.put(b"x" * 300)
    for length in (0, 1 << 63, (1 << 64) - 1):
        assert not capture(heap, Table([STRING]), [value(0, 1, word(place) + word(length))]).chunks
    found = capture(heap, Table([STRING]), [value(0, 1, word(place) + word(1 << 40))])
    assert found.chunks == [(place, (1 << 32) - 1, b"x" * 256)]


def test_pointers_are_followed_breadth_first(capture: Capture, heap: Heap) -> None:
    """{a *struct{s string}; b *int}: what is nearer comes first, so that it finds room first."""
    text = heap.put(heap.string(b"deep"))
    number = heap.words(42)
    shapes = [pointers(Pointer(0, What.POINTER, 2), Pointer(8, What.POINTER, 3), size=16), STRING, Shape(8, 8)]
    found = capture(heap, Table(shapes), [value(0, 1, word(text) + word(number))])
    assert found.addresses() == [text, number, int.from_bytes(found.at(text)[:8], "little")]
    assert found.at(number) == word(42)
    assert not found.flags


def linked(heap: Heap, count: int) -> tuple[list[int], Table]:
    """A list of nodes {next *node; n int}."""
    nodes = [heap.reserve(16) for _ in range(count)]
    for number, (node, following) in enumerate(zip(nodes, [*nodes[1:], 0], strict=True)):
        heap.write(node, word(following) + word(number))
    return nodes, Table([pointers(Pointer(0, What.POINTER, 2)), pointers(Pointer(0, What.POINTER, 2), size=16)])


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_depth_counts_pointers(capture: Capture, heap: Heap, depth: int) -> None:
    nodes, table = linked(heap, 6)
    found = capture(heap, table, [value(0, 1, word(nodes[0]))], limits=Limits(depth=depth))
    assert found.addresses() == nodes[:depth]
    assert found.flags == EventFlags.DEPTH_CUT


def test_the_end_of_a_list_is_no_cut(capture: Capture, heap: Heap) -> None:
    nodes, table = linked(heap, 4)
    found = capture(heap, table, [value(0, 1, word(nodes[0]))])
    assert found.addresses() == nodes
    assert not found.flags


def test_cycles_are_taken_once(capture: Capture, heap: Heap) -> None:
    nodes, table = linked(heap, 2)
    heap.write(nodes[1], word(nodes[0]))
    found = capture(heap, table, [value(0, 1, word(nodes[0]))], limits=Limits(depth=16))
    assert found.addresses() == nodes


def test_memory_that_cannot_be_read_is_a_chunk_without_bytes(capture: Capture, heap: Heap) -> None:
    shapes = [pointers(Pointer(0, What.POINTER, 2), Pointer(8, What.POINTER, 2), size=16), Shape(24, 24)]
    there = heap.put(b"y" * 24)
    found = capture(heap, Table(shapes), [value(0, 1, word(0x1000) + word(there))])
    assert found.chunks == [(0x1000, 24, b""), (there, 24, b"y" * 24)]


def test_slices_are_cut_by_elements_and_bytes_by_the_limit_of_texts(capture: Capture, heap: Heap) -> None:
    place = heap.put(bytes(range(200)) * 5)
    table = Table([pointers(Pointer(0, What.SLICE, 2), size=24), Shape(4, 4), pointers(Pointer(0, What.SLICE, 4)),
                   Shape(1, 1)])  # fmt: skip
    limits = Limits(elements=10, text=50)
    for shape, full, taken in ((1, 4 * 250, 40), (3, 250, 50)):
        found = capture(heap, table, [value(0, shape, word(place) + word(250) + word(250))], limits=limits)
        assert found.chunks == [(place, full, (bytes(range(200)) * 5)[:taken])]


def test_elements_of_slices_are_followed(capture: Capture, heap: Heap) -> None:
    """[]struct{n int; s string}"""
    texts = [b"one", b"two", b"three", b"four"]
    elements = b"".join(word(number) + heap.string(text) for number, text in enumerate(texts))
    place = heap.put(elements)
    table = Table([pointers(Pointer(0, What.SLICE, 2), size=24), pointers(Pointer(8, What.STRING), size=24)])
    found = capture(heap, table, [value(0, 1, word(place) + word(4) + word(4))], limits=Limits(elements=3))
    assert found.chunks[0] == (place, 96, elements[:72])
    assert [data for _, _, data in found.chunks[1:]] == texts[:3]


def test_slices_of_what_has_no_pointers_are_no_step_deeper(capture: Capture, heap: Heap) -> None:
    nodes = [heap.words(0, 0, 0)]
    numbers = heap.words(1, 2, 3)
    heap.write(nodes[0], word(numbers) + word(3) + word(3))
    table = Table([pointers(Pointer(0, What.POINTER, 2)), pointers(Pointer(0, What.SLICE, 3), size=24), Shape(8, 8)])
    found = capture(heap, table, [value(0, 1, word(nodes[0]))], limits=Limits(depth=1))
    assert found.addresses() == [nodes[0], numbers]
    assert not found.flags


def test_arrays_within_values_are_followed(capture: Capture, heap: Heap) -> None:
    """struct{n int; a [3]struct{p *int; n int}}"""
    numbers = [heap.words(number) for number in (7, 8, 9)]
    root = word(1) + b"".join(word(place) + word(0) for place in numbers)
    table = Table([pointers(Pointer(8, What.INLINE, 2, 3), size=56), pointers(Pointer(0, What.POINTER, 3), size=16),
                   Shape(8, 8)])  # fmt: skip
    found = capture(heap, table, [value(0, 1, root)])
    assert found.addresses() == numbers


def test_what_an_array_is_cut_from_is_not_followed(capture: Capture, heap: Heap) -> None:
    """*[100]string, of which two elements are taken: nothing behind them is taken for a pointer."""
    texts = [heap.string(b"%d" % number) for number in range(100)]
    place = heap.put(b"".join(texts))
    table = Table([pointers(Pointer(0, What.POINTER, 2)), Shape(1600, 32, (Pointer(0, What.INLINE, 3, 100),)), STRING])
    found = capture(heap, table, [value(0, 1, word(place))], limits=Limits(elements=2))
    assert found.chunks[0] == (place, 1600, b"".join(texts[:2]))
    assert [data for _, _, data in found.chunks[1:]] == [b"0", b"1"]


def test_the_record_takes_what_finds_room_and_tells(capture: Capture, heap: Heap) -> None:
    texts = [heap.string(bytes([number]) * 200) for number in range(30)]
    place = heap.put(b"".join(texts))
    table = Table([pointers(Pointer(0, What.SLICE, 2), size=24), STRING])
    found = capture(heap, table, [value(0, 1, word(place) + word(30) + word(30))], record_size=2048)
    assert EventFlags.HEAP_FULL in found.flags
    assert found.used <= 2048
    assert [data[0] for _, _, data in found.chunks[1:]] == list(range(len(found.chunks) - 1))
    assert found.used + 16 + 200 > 2048


def test_functions_come_with_what_lies_behind(capture: Capture, heap: Heap) -> None:
    """And with what captured words point to, if they may be pointers to the heap: here a string, by reference."""
    table = Table([pointers(Pointer(0, What.FUNC, 2)), *function_shapes(2)])
    end = heap.start + deep_capture.SIZE
    heap.write(end - 16, word(1) + word(3))
    text = heap.put(b"captured".ljust(80))
    variable = heap.put(word(text) + word(8) + bytes(48))
    page = -heap.start % 4096 + 4096
    far = heap.put(word(1) + word(variable) + word(12345) + word(1 << 62) + word(far_away(heap)) + bytes(24),
                   at=page - 24)  # fmt: skip
    unknown = (1 << 32) - 1
    assert capture(heap, table, [value(0, 1, word(end - 16))]).chunks == [(end - 16, unknown, word(1) + word(3))]
    found = capture(heap, table, [value(0, 1, word(far))])
    assert found.addresses() == [far, variable, text]
    assert found.at(text) == b"captured".ljust(64)
    assert not capture(heap, table, [value(0, 1, word(far))], read_only=((far, far + 8),)).chunks


def far_away(heap: Heap) -> int:
    return heap.start - (1 << 38)


def test_what_the_executable_has_is_not_taken(capture: Capture, heap: Heap) -> None:
    constant, other = heap.string(b"constant"), heap.string(b"other")
    place = int.from_bytes(constant[:8], "little")
    table = Table([pointers(Pointer(0, What.STRING), Pointer(16, What.STRING), size=32)])
    bias = 0x1000
    found = capture(heap, table, [value(0, 1, constant + other)], bias=bias,
                    read_only=((place - bias, place - bias + 8),))  # fmt: skip
    assert [data for _, _, data in found.chunks] == [b"other"]


# -- interfaces ---------------------------------------------------------------------------------------------------

DESCRIPTOR = 0x7FFF00000000


def interface(kind: What, flags: int = 0) -> Table:
    """An interface and the types that it may hold: 2 string, 3 *{s string}, 4 int, 5 unknown."""
    return Table(
        [
            pointers(Pointer(0, kind, flags=flags), size=16),
            STRING,
            pointers(Pointer(0, What.POINTER, 2), flags=HeadFlags.DIRECT),
            Shape(8, 8),
        ],
        DESCRIPTOR,
        [2, 0, 3, 4],
    )


@pytest.mark.parametrize("bias", [0, 0x5000])
def test_an_empty_interface_leads_to_its_value(capture: Capture, heap: Heap, bias: int) -> None:
    text = heap.string(b"boxed")
    boxed, number = heap.put(text), heap.words(5)
    table = interface(What.EFACE)
    for place, data, expected in (
        (0, boxed, [text, b"boxed"]),
        (16, boxed, [text, b"boxed"]),  # a pointer, which is the data word itself
        (24, number, [word(5)]),
        (8, boxed, []),  # no descriptor
        (32, boxed, []),  # beyond all
        (0, 0, []),
    ):
        root = word(DESCRIPTOR + bias + place) + word(data)
        found = capture(heap, table, [value(0, 1, root)], bias=bias)
        assert [data for _, _, data in found.chunks] == expected
        assert not found.flags


def test_an_interface_with_methods_tells_its_itab(capture: Capture, heap: Heap) -> None:
    itab = heap.words(0x1111, DESCRIPTOR, 0x2222)
    boxed = heap.put(heap.string(b"boxed"))
    found = capture(heap, interface(What.IFACE), [value(0, 1, word(itab) + word(boxed))])
    assert found.chunks[0] == (itab, 16, word(0x1111) + word(DESCRIPTOR))
    assert found.addresses()[1] == boxed
    known = capture(heap, interface(What.IFACE), [value(0, 1, word(itab) + word(boxed))],
                    read_only=((1, 2), (itab, itab + 8)))  # fmt: skip
    assert known.chunks == found.chunks[1:]
    broken = capture(heap, interface(What.IFACE), [value(0, 1, word(0x1000) + word(boxed))])
    assert broken.chunks == [(0x1000, 16, b"")]


def test_interfaces_count_as_one_step(capture: Capture, heap: Heap) -> None:
    """any(*struct{s string}) and any(string) are both taken at depth 1."""
    boxed = heap.put(heap.string(b"boxed"))
    for place in (0, 16):
        root = word(DESCRIPTOR + place) + word(boxed)
        assert len(capture(heap, interface(What.EFACE), [value(0, 1, root)], limits=Limits(depth=1)).chunks) == 2
        cut = capture(heap, interface(What.EFACE), [value(0, 1, root)], limits=Limits(depth=0))
        assert not cut.chunks
        assert cut.flags == EventFlags.DEPTH_CUT


@pytest.mark.parametrize("length", [10, 40])
def test_chains_of_contexts_are_followed_further(capture: Capture, heap: Heap, length: int) -> None:
    """*valueCtx{Context; value any}, each the child of the next: 32 are taken at any depth."""
    itab = heap.words(0, DESCRIPTOR)
    contexts = [heap.reserve(32) for _ in range(length)]
    boxed = [heap.words(number) for number in range(length)]
    for number, (context, parent) in enumerate(zip(contexts, [*contexts[1:], 0], strict=True)):
        above = word(itab) + word(parent) if parent else bytes(16)
        heap.write(context, above + word(DESCRIPTOR + 8) + word(boxed[number]))
    table = Table(
        [
            pointers(Pointer(0, What.IFACE, flags=PointerFlags.CHAIN), size=16),
            pointers(Pointer(0, What.POINTER, 3), flags=HeadFlags.DIRECT),
            pointers(Pointer(0, What.IFACE, flags=PointerFlags.CHAIN), Pointer(16, What.EFACE), size=32),
            Shape(8, 8),
        ],
        DESCRIPTOR,
        [2, 4],
    )
    found = capture(heap, table, [value(0, 1, word(itab) + word(contexts[0]))], limits=Limits(depth=2))
    taken = min(length, 32)
    assert [address for address in found.addresses() if address in contexts] == contexts[:taken]
    assert [address for address in found.addresses() if address in boxed] == boxed[:taken]
    assert found.flags == (EventFlags.DEPTH_CUT if length > 32 else EventFlags(0))


# -- maps ---------------------------------------------------------------------------------------------------------


def swiss_table() -> Table:
    """map[string]int: pointer, header, group, slot, pointer to a table, table."""
    free = PointerFlags.FREE
    return Table(
        [
            pointers(Pointer(0, What.POINTER, 2)),
            pointers(Pointer(16, What.DIRECTORY, 3, 5, free), size=48),
            pointers(Pointer(8, What.INLINE, 4, 8), size=8 + 8 * 24),
            pointers(Pointer(0, What.STRING), size=24),
            pointers(Pointer(0, What.POINTER, 6, flags=free)),
            pointers(Pointer(16, What.GROUPS, 3, flags=free), size=32),
        ]
    )


def group(heap: Heap, keys: list[bytes]) -> bytes:
    slots = b"".join(heap.string(key) + word(len(key)) for key in keys)
    return (b"\x01" * len(keys)).ljust(8, b"\x80") + slots.ljust(8 * 24, b"\0")


def test_a_small_swiss_map_is_one_group(capture: Capture, heap: Heap) -> None:
    data = group(heap, [b"a", b"bb", b"ccc"])
    place = heap.put(data)
    header = heap.words(3, 0, place, 0, 0, 0)
    found = capture(heap, swiss_table(), [value(0, 1, word(header))], limits=Limits(depth=1))
    assert found.addresses()[:2] == [header, place]
    assert found.at(place) == data
    assert [key for _, _, key in found.chunks[2:]] == [b"a", b"bb", b"ccc"]
    assert not found.flags


def test_a_large_swiss_map_has_tables(capture: Capture, heap: Heap) -> None:
    """Two tables, one of which the directory names twice."""
    keys = [[b"%d-%d" % (table, slot) for slot in range(6)] for table in range(2)]
    groups = [heap.put(group(heap, names) + group(heap, [])) for names in keys]
    tables = [heap.words(0, 0, place, 1) for place in groups]
    directory = heap.words(tables[0], tables[0], tables[1], tables[1])
    header = heap.words(12, 0, directory, 4, 0, 0)
    found = capture(heap, swiss_table(), [value(0, 1, word(header))], limits=Limits(depth=1))
    assert found.addresses()[:6] == [header, directory, *tables, *groups]
    assert len(found.at(groups[0])) == 2 * 200
    assert sorted(key for _, _, key in found.chunks[6:]) == sorted(key for names in keys for key in names)


def test_groups_of_a_huge_map_are_cut(capture: Capture, heap: Heap) -> None:
    place = heap.reserve(200 * 64)
    table = heap.words(0, 0, place, 63)
    directory = heap.words(table)
    header = heap.words(12, 0, directory, 1, 0, 0)
    found = capture(heap, swiss_table(), [value(0, 1, word(header))], limits=Limits(elements=8))
    assert found.chunks[-1] == (place, 64 * 200, bytes(400))


def bucket_table() -> Table:
    """map[string]int up to Go 1.23: pointer, header, bucket, key."""
    free = PointerFlags.FREE
    return Table(
        [
            pointers(Pointer(0, What.POINTER, 2)),
            pointers(Pointer(16, What.BUCKETS, 3, 0, free), Pointer(24, What.OLD_BUCKETS, 3, 0, free), size=48),
            pointers(Pointer(8, What.INLINE, 4, 8), Pointer(200, What.POINTER, 3, flags=free), size=208),
            STRING,
        ]
    )


def bucket(heap: Heap, keys: list[bytes], overflow: int = 0) -> bytes:
    texts = b"".join(map(heap.string, keys)).ljust(8 * 16, b"\0")
    return bytes([9] * len(keys)).ljust(8, b"\0") + texts + bytes(64) + word(overflow)


def test_buckets_with_overflow_and_old_ones(capture: Capture, heap: Heap) -> None:
    overflow = heap.put(bucket(heap, [b"over"]))
    new = heap.put(bucket(heap, [b"a"]) + bucket(heap, [b"b"], overflow))
    old = heap.put(bucket(heap, [b"old"]))
    header = heap.put(word(4) + bytes([0, 1, 0, 0, 0, 0, 0, 0]) + word(new) + word(old) + word(0) + word(0))
    found = capture(heap, bucket_table(), [value(0, 1, word(header))], limits=Limits(depth=1))
    assert {header, new, old, overflow} <= set(found.addresses())
    assert len(found.at(new)) == 2 * 208
    assert len(found.at(old)) == 208
    assert {key for _, _, key in found.chunks if len(key) < 8} == {b"a", b"b", b"old"} | {b"over"}


# -- where values are ---------------------------------------------------------------------------------------------


def test_a_value_in_memory_is_read_there(capture: Capture, heap: Heap) -> None:
    text = heap.string(b"in memory")
    place = heap.put(text)
    found = capture(heap, Table([STRING]), [CaptureValue(column(2), 1, 16, address=ir.Const(place))])
    assert found.columns[2] == (16, text)
    assert [data for _, _, data in found.chunks] == [b"in memory"]


def test_values_that_cannot_be_had(capture: Capture, heap: Heap) -> None:
    """Nil and unknown ones are absent, unreadable ones are there without a byte; others are not concerned."""
    nowhere = ir.Load(ir.Const(0), 8, 8, False, True)
    text = heap.string(b"there")
    found = capture(
        heap,
        Table([STRING]),
        [
            CaptureValue(column(0), 1, 16, address=ir.Const(0)),
            CaptureValue(column(1), 1, 16, ((0, 8, ir.Const(1)), (8, 8, nowhere))),
            CaptureValue(column(2), 1, 16, address=ir.Const(0x1000)),
            CaptureValue(column(3), 0, 0),
            value(4, 1, text),
        ],
    )
    assert found.columns == [None, None, (16, b""), (0, b""), (16, text), None, None, None]
    assert len(found.chunks) == 1


def test_parts_that_are_not_given_are_zero(capture: Capture, heap: Heap) -> None:
    parts = ((0, 4, ir.Const(0x01020304)), (16, 1, ir.Const(5)))
    found = capture(heap, Table(), [CaptureValue(column(0), 0, 20, parts)])
    assert found.columns[0] == (20, bytes([4, 3, 2, 1]) + bytes(12) + bytes([5, 0, 0, 0]))
    assert not np.frombuffer(found.record[: EVENT.itemsize], EVENT)[0]["chunks"]


def test_a_large_value_in_memory_is_cut(capture: Capture, heap: Heap) -> None:
    place = heap.put(b"z" * 10_000)
    found = capture(heap, Table(), [CaptureValue(column(0), 0, 10_000, address=ir.Const(place))])
    assert found.columns[0] is not None
    assert found.columns[0][0] == 10_000
    assert found.columns[0][1] == b"z" * (deep_capture.TAIL - 16)


def test_values_of_a_calls_end_stand_behind_the_chunks_of_its_entry(capture: Capture, heap: Heap) -> None:
    """They are wrapped, so that a reader can walk from chunk to chunk."""
    first, second = heap.string(b"argument"), heap.string(b"result")
    found = capture(heap, Table([STRING]), [value(0, 1, first)], [value(1, 1, second), value(2, 0, word(7))])
    assert found.columns[:3] == [(16, first), (16, second), (8, word(7))]
    assert [data for _, _, data in found.chunks] == [b"argument", b"result"]
    assert found.wrapped == 1


def test_the_first_values_of_a_record_are_not_wrapped(capture: Capture, heap: Heap) -> None:
    found = capture(heap, Table([STRING]), [value(0, 0, word(3))], [value(1, 1, heap.string(b"x"))])
    assert found.wrapped == 0
    assert found.used == HEAP + 8 + 16 + 16 + 8


def test_a_record_without_room_for_more(capture: Capture, heap: Heap) -> None:
    """The end's values find none, nor does a header before them; the chunks stay in a row."""
    text = heap.string(b"t" * 250)
    for size in range(HEAP + 16 + 16 + 256, HEAP + 16 + 16 + 256 + 40, 8):
        found = capture(heap, Table([STRING]), [value(0, 1, text)], [value(1, 1, text)], record_size=size)
        assert found.columns[0] == (16, text)
        assert found.columns[1] in (None, (16, text))
        assert EventFlags.HEAP_FULL in found.flags
        assert found.used <= size


def test_frames_of_scripts_have_room_for_what_captures_work_with() -> None:
    assert deep_memory.SCRATCH_SIZE <= script_frame.QUEUE_SIZE
    assert script_frame.QUEUE + script_frame.QUEUE_SIZE <= 0


@pytest.mark.parametrize("size", [192, 512, 4096, script_frame.LARGEST_FRAME])
@pytest.mark.parametrize(
    "limits",
    [Limits(0, 0, 0, 0), Limits(1, 1, 1, 1), Limits(1 << 40, 1 << 40, 1 << 40, 1 << 40)],
    ids=["nothing", "one", "everything"],
)
def test_any_size_and_limits(capture: Capture, heap: Heap, size: int, limits: Limits) -> None:
    """What the verifier accepts does not hang on them."""
    text = heap.string(b"text" * 20)
    header = heap.words(1, 0, heap.put(group(heap, [b"key"])), 0, 0, 0)
    table = swiss_table()
    table.shapes = [*table.shapes, STRING]
    found = capture(heap, table, [value(0, 7, text), value(1, 1, word(header))], limits=limits, record_size=size)
    assert found.used <= size
    assert len(found.chunks) == 0 or limits.text


class Jungle:
    """Shapes and memory at random: pointers lead anywhere in the heap, out of it, and into each other."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.heap = Heap()
        self.size = 1 << 14
        self.start = self.heap.reserve(self.size)
        count = self.random.randint(2, 12)
        self.table = Table(
            [self._shape(count) for _ in range(count)], DESCRIPTOR, [self.random.randint(0, count) for _ in range(8)]
        )
        self.heap.write(self.start, b"".join(word(self._word()) for _ in range(self.size // 8)))

    def _shape(self, count: int) -> Shape:
        choose = self.random
        size = 8 * choose.randint(1, 12)
        rows = [
            Pointer(8 * choose.randrange(size // 8), choose.choice(list(What)), choose.randint(0, count),
                    choose.randint(0, count), choose.choice([0, 0, 0, PointerFlags.FREE, PointerFlags.CHAIN]))
            for _ in range(choose.randint(0, 6))
        ]  # fmt: skip
        flags = choose.choice([0, 0, HeadFlags.DIRECT, HeadFlags.CUT])
        return Shape(size, choose.choice([size, 8]), tuple(rows), flags)

    def _word(self) -> int:
        choose = self.random
        match choose.randrange(8):
            case 0 | 1 | 2:
                return self.start + choose.randrange(self.size)
            case 3:
                return DESCRIPTOR + 8 * choose.randrange(10)
            case 4 | 5:
                return choose.randrange(40)
            case 6:
                return self.heap.start + deep_capture.SIZE - choose.randrange(100)
            case _:
                return choose.choice([0, 1 << 62 | choose.getrandbits(40), (1 << 64) - 1])

    def events(self) -> list[list[CaptureValue]]:
        """One or two, the second behind the chunks of the first."""
        choose = self.random
        events, index = [], 0
        for _ in range(choose.randint(1, 2)):
            values = []
            for _ in range(choose.randint(0, 3)):
                shape = choose.randint(0, len(self.table.shapes))
                data = b"".join(word(self._word()) for _ in range(choose.randint(0, 4)))
                where = ir.Const(self.start + choose.randrange(self.size // 2))
                values.append(value(index, shape, data) if data else CaptureValue(column(index), shape, 64, (), where))
                index += 1
            events.append(values)
        return events


@pytest.mark.root
@needs_bpf
@pytest.mark.parametrize("has_loop", [True, False], ids=["loop", "no loop"])
@pytest.mark.parametrize("seed", range(0, 40, 8))
def test_interpreter_and_kernel_agree_about_anything(seed: int, has_loop: bool) -> None:
    for one in range(seed, seed + 8):
        jungle = Jungle(one)
        choose = jungle.random
        limits = Limits(choose.choice([0, 7, 300]), choose.choice([1, 5, 40]), choose.randint(0, 6))
        how = deep_capture.setting(limits, jungle.table, has_loop=has_loop, record_size=choose.choice([1024, 16384]))
        code = deep_capture.program(jungle.events(), how)
        records = [
            run(code, how, jungle.heap, jungle.table)
            for run in (deep_capture.interpreted, deep_capture.by_the_kernel)
        ]
        found = deep_capture.read(records[0])
        assert records[0][: found.used] == records[1][: found.used], one
