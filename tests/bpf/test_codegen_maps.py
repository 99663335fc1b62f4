"""Generated programs in the BPF interpreter: Go maps of both designs."""

from __future__ import annotations

import struct

import pytest

from codegen_process import MAP, Heap, Process, begin, end, kept
from codegen_samples import (
    BUCKETS,
    PATH,
    QUERY,
    SPLIT,
    SWISS,
    header_text,
)
from gotap.probe import ir


@pytest.mark.parametrize("count", [0, 5, 8, 9, 30])
@pytest.mark.parametrize("layout", [SWISS, SPLIT, BUCKETS, "growing"], ids=["swiss", "split", "buckets", "growing"])
def test_map_elements_are_found_whatever_the_number_of_headers(layout: object, count: int) -> None:
    for place in range(0, count + 1, 4):
        process = Process()
        heap = Heap(process.memory)
        headers = {b"Header-%d" % index: b"value" for index in range(count)}
        names = list(headers)
        names.insert(place, b"User-Agent")
        headers = {name: headers.get(name, b"curl/8") for name in names}
        if isinstance(layout, ir.SwissLayout):
            where: ir.BucketLayout | ir.SwissLayout = layout
            process.memory.write(MAP, heap.swiss(headers, layout))
        else:
            where = BUCKETS
            process.memory.write(MAP, heap.buckets(headers, growing=layout == "growing"))
        found = ir.Capture(PATH, (header_text(where, b"User-Agent"),))
        absent = ir.Capture(QUERY, (header_text(where, b"User-Agenu"),))
        process.run(begin(found, absent), rax=MAP)
        process.run(end())
        [(_, record)] = process.records()
        assert kept(record, PATH) == b"curl/8"
        assert kept(record, QUERY) is None


@pytest.mark.parametrize("layout", [SWISS, SPLIT], ids=["swiss", "split"])
def test_slots_that_were_never_used_may_have_no_page(layout: ir.SwissLayout) -> None:
    """Go takes fresh memory as it comes from the kernel: what lies behind the last used slot may not be there yet."""
    process = Process()
    heap = Heap(process.memory)
    group = heap.group([(b"Other", b"value"), (b"User-Agent", b"curl/8")], layout)
    used = layout.elems + layout.elem_stride + 24  # the value of the second slot ends the page
    place = 0xC000400000 - used
    process.memory.write(place, group[:used])
    process.memory.write(MAP, struct.pack("<QQQqQ", 2, 0, place, 0, 0))
    found = ir.Capture(PATH, (header_text(layout, b"User-Agent"),))
    process.run(begin(found), rax=MAP)
    process.run(end())
    [(_, record)] = process.records()
    assert kept(record, PATH) == b"curl/8"
