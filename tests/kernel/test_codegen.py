"""Generated programs in the BPF interpreter: what they read, pair, decide and emit."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from msgspec.structs import replace

from bpf_interpreter import (
    ArrayMap,
    HashMap,
    LruHashMap,
    Machine,
    PerCpuArrayMap,
    PerCpuHashMap,
    RingMap,
    UserMemory,
)
from codegen_samples import (
    ARGUMENT,
    BUCKETS,
    CONTEXT,
    CONTEXT_ARGUMENT,
    DEPTH,
    GOID,
    HERE,
    KIND,
    LAYOUT,
    PATH,
    QUERY,
    REQUEST,
    SP,
    SPLIT,
    STACK_HIGH,
    STATUS,
    SWISS,
    TARGET,
    TGID,
    G,
    capture,
    header_text,
    load,
    text,
)
from gotap.image.code import CONDITIONS, Constant, Edge, Location, Register, Stack
from gotap.kernel.codegen import frame
from gotap.kernel.codegen.aggregation import KEY_SIZE, VALUE_SIZE
from gotap.kernel.codegen.frame import Counter
from gotap.kernel.codegen.program import Options, Place, generate
from gotap.kernel.codegen.tracing import Sampling
from gotap.probe import ir
from gotap.probe.record import HEADER, SIZE_CLASSES, TEXT, Column, Layout, RecordFlags


class Process:
    """An emulated kernel with the maps of the watcher, and a Go process with one goroutine."""

    def __init__(self, sampling: Sampling = Sampling(), ring: int = 1 << 16) -> None:  # noqa: B008
        self.memory = UserMemory()
        self.options = Options(sampling)
        self.machine = Machine(
            {
                frame.ROWS: HashMap(frame.ROW_KEY_SIZE, frame.ROW_SIZE, 8),
                frame.SCOPES: HashMap(frame.SCOPE_KEY_SIZE, frame.SCOPE_SIZE, 64),
                frame.LINKS: LruHashMap(frame.SCOPE_KEY_SIZE, frame.LINK_SIZE, 64),
                frame.COUNTERS_MAP: PerCpuArrayMap(8 * frame.COUNTER_COUNT, 1),
                frame.TEMPLATE: ArrayMap(frame.ROW_SIZE, 1),
                frame.RING: RingMap(ring),
                frame.AGGREGATES: PerCpuHashMap(KEY_SIZE, VALUE_SIZE, 64),
            },
            memory=self.memory,
            pid_tgid=TGID << 32 | 99,
        )
        self.goroutine(G, GOID)

    def goroutine(self, g: int, goid: int) -> None:
        image = bytearray(400)
        struct.pack_into("<Q", image, 8, STACK_HIGH)
        struct.pack_into("<Q", image, 152, goid)
        self.memory.write(g, bytes(image))

    def run(self, action: ir.Action, place: Place = HERE, **registers: int) -> None:
        code = generate(action, place, TARGET, self.options, 0)
        self.machine.run(code, {"r14": G, "rsp": SP, "rax": REQUEST, "rflags": 0, **registers})

    def count(self, counter: Counter) -> int:
        value = self.machine.maps[frame.COUNTERS_MAP].values[struct.pack("<I", 0)]
        return int(struct.unpack_from("<Q", value, 8 * counter)[0])

    def records(self) -> list[tuple[np.void, bytes]]:
        return [(np.frombuffer(one[: HEADER.itemsize], HEADER)[0], one) for one in self.machine.ring]


def kept(record: bytes, column: Column) -> bytes | None:
    if not np.frombuffer(record[: HEADER.itemsize], HEADER)[0]["present"] >> np.uint64(column.index) & np.uint64(1):
        return None
    place = np.frombuffer(record[column.offset : column.offset + 8], TEXT)[0]
    return record[place["offset"] : place["offset"] + place["kept"]]


def number(record: bytes, column: Column) -> int | None:
    if not np.frombuffer(record[: HEADER.itemsize], HEADER)[0]["present"] >> np.uint64(column.index) & np.uint64(1):
        return None
    return int(struct.unpack_from("<q", record, column.offset)[0])


def begin(*captures: ir.Capture, remote: ir.TraceParent | None = None, walk: ir.ContextWalk | None = None,
          own: ir.Word | None = None, by_depth: bool = False) -> ir.Begin:  # fmt: skip
    return ir.Begin(LAYOUT, captures, remote, walk, own, True, by_depth)


def end(*captures: ir.Capture, outcome: int = 0, own: ir.Word | None = None, by_depth: bool = False) -> ir.End:
    return ir.End(LAYOUT, outcome, True, captures, True, own, by_depth)


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


def test_a_begin_deeper_in_the_stack_is_part_of_the_open_operation() -> None:
    process = Process()
    process.run(begin())
    process.run(begin(), rsp=SP - 0x100)
    assert process.count(Counter.NESTED) == 1
    process.run(begin())  # the same depth again: the end of the first was missed
    assert process.count(Counter.STALE) == 1
    assert process.count(Counter.BEGUN) == 2


def test_recursion_is_paired_by_depth() -> None:
    process = Process()
    for depth in (0, 0x80, 0x100):
        process.run(begin(by_depth=True), rsp=SP - depth)
    place = Place({}, None, 16)  # ends stand 16 bytes below the entry's SP
    for depth in (0x100, 0x80, 0):
        process.run(end(by_depth=True), place, rsp=SP - depth - 16)
    assert len(process.records()) == 3
    assert process.count(Counter.NO_BEGIN) == 0


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


# -- maps ------------------------------------------------------------------------------------------------------------

MAP = 0xC000030000


class Heap:
    """Lays out Go strings, []string and maps in user memory."""

    def __init__(self, memory: UserMemory, start: int = 0xC000200000) -> None:
        self.memory = memory
        self.next = start

    def put(self, data: bytes) -> int:
        place, self.next = self.next, self.next + len(data) + 16
        self.memory.write(place, data)
        return place

    def string(self, value: bytes) -> bytes:
        return struct.pack("<QQ", self.put(value), len(value))

    def entry(self, key: bytes, value: bytes) -> tuple[bytes, bytes]:
        first = self.put(self.string(value))
        return self.string(key), struct.pack("<QQQ", first, 1, 1)

    def group(self, entries: list[tuple[bytes, bytes]], layout: ir.SwissLayout) -> bytes:
        data = bytearray(layout.group_size)
        data[:8] = b"\x80" * 8
        for slot, (key, value) in enumerate(self.entry(*one) for one in entries):
            data[slot] = 0x11
            data[layout.keys + slot * layout.key_stride :][:0] = b""
            struct.pack_into("16s", data, layout.keys + slot * layout.key_stride, key)
            struct.pack_into("24s", data, layout.elems + slot * layout.elem_stride, value)
        return bytes(data)

    def swiss(self, headers: dict[bytes, bytes], layout: ir.SwissLayout) -> bytes:
        """The runtime's Map structure: one group up to 8 entries, else tables of two groups, each named twice."""
        entries = list(headers.items())
        if len(entries) <= 8:
            return struct.pack("<QQQqQ", len(entries), 0, self.put(self.group(entries, layout)), 0, 0)
        tables = []
        for start in range(0, len(entries), 16):
            halves = [entries[start : start + 8], entries[start + 8 : start + 16]]
            groups = self.put(b"".join(self.group(half, layout) for half in halves))
            table = self.put(struct.pack("<HHHHqQQ", 0, 16, 0, 0, 0, groups, 1))
            tables += [table, table]
        directory = self.put(struct.pack(f"<{len(tables)}Q", *tables))
        return struct.pack("<QQQqQ", len(entries), 0, directory, len(tables), 0)

    def bucket(self, entries: list[tuple[bytes, bytes]], overflow: int, mark: int = 0x55) -> bytes:
        data = bytearray(336)
        for slot, (key, value) in enumerate(self.entry(*one) for one in entries):
            data[slot] = mark
            struct.pack_into("16s", data, 8 + 16 * slot, key)
            struct.pack_into("24s", data, 136 + 24 * slot, value)
        struct.pack_into("<Q", data, 328, overflow)
        return bytes(data)

    def buckets(self, headers: dict[bytes, bytes], *, growing: bool = False) -> bytes:
        """runtime.hmap with two buckets and overflow chains; growing: the second half still in one old bucket."""
        entries = list(headers.items())
        if len(entries) <= 8:
            return struct.pack("<QBBHIQQ", len(entries), 0, 0, 0, 0, self.put(self.bucket(entries, 0)), 0)
        old = 0
        if growing:
            moved = self.put(self.bucket(entries[:3], 0, mark=2))  # evacuated: must not be looked at
            kept_back = self.bucket(entries[-8:], moved)
            entries, old = entries[:-8], self.put(kept_back)
        overflow = self.put(self.bucket(entries[16:24], self.put(self.bucket(entries[24:], 0))))
        array = self.bucket(entries[:8], 0) + self.bucket(entries[8:16], overflow)
        return struct.pack("<QBBHIQQ", len(headers), 0, 1, 0, 0, self.put(array), old)


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


# -- trace identity --------------------------------------------------------------------------------------------------

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def traced(value: bytes | None, sampling: Sampling = Sampling()) -> tuple[np.void, bytes]:  # noqa: B008
    process = Process(sampling)
    heap = Heap(process.memory)
    headers = {} if value is None else {b"Traceparent": value}
    process.memory.write(MAP, heap.swiss(headers, SWISS))
    process.run(begin(remote=ir.TraceParent((header_text(SWISS, b"Traceparent"),))), rax=MAP)
    process.run(end())
    return process.records()[0]


@pytest.mark.parametrize("flags", ["00", "01", "02", "ff"])
def test_a_valid_traceparent_is_the_parent(flags: str) -> None:
    header, _ = traced(f"00-{TRACE}-{SPAN}-{flags}".encode())
    assert bytes(header["trace_id"]).hex() == TRACE
    assert bytes(header["parent_id"]).hex() == SPAN
    assert header["flags"] & RecordFlags.REMOTE_PARENT
    assert bool(header["flags"] & RecordFlags.SAMPLED) == bool(int(flags, 16) & 1)
    assert bytes(header["span_id"]) not in (bytes(8), bytes.fromhex(SPAN))


def test_a_later_version_may_go_on_after_a_dash() -> None:
    header, _ = traced(f"cc-{TRACE}-{SPAN}-01-what the future will be like".encode())
    assert header["flags"] & RecordFlags.REMOTE_PARENT


@pytest.mark.parametrize(
    "value",
    [
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"cc-{TRACE}-{SPAN}-01.extra",
        f"00_{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[:-1]}:-{SPAN}-01",
        f"00-{TRACE[:-1]}`-{SPAN}-01",
        f"00-{TRACE[:-1]}/-{SPAN}-01",
        f"00-{TRACE[:-1]}é{SPAN}-01",
        "",
        None,
    ],
)
def test_an_invalid_traceparent_is_as_if_it_were_not_there(value: str | None) -> None:
    header, _ = traced(None if value is None else value.encode())
    assert not header["flags"] & RecordFlags.REMOTE_PARENT
    assert bytes(header["parent_id"]) == bytes(8)
    assert bytes(header["trace_id"]).hex() not in (TRACE, "0" * 32)
    assert header["flags"] & RecordFlags.SAMPLED


def test_the_sampler_decides_roots_and_follows_parents() -> None:
    never = Sampling(True, 0)
    assert not traced(None, never)[0]["flags"] & RecordFlags.SAMPLED
    assert traced(f"00-{TRACE}-{SPAN}-01".encode(), never)[0]["flags"] & RecordFlags.SAMPLED
    alone = Sampling(False, 0)
    assert not traced(f"00-{TRACE}-{SPAN}-01".encode(), alone)[0]["flags"] & RecordFlags.SAMPLED
    half = int.from_bytes(bytes.fromhex(TRACE)[8:], "big") >> 1
    assert not traced(f"00-{TRACE}-{SPAN}-01".encode(), Sampling(False, half))[0]["flags"] & RecordFlags.SAMPLED
    assert traced(f"00-{TRACE}-{SPAN}-00".encode(), Sampling(False, half + 1))[0]["flags"] & RecordFlags.SAMPLED


CLIENT = Layout("client", 2, (DEPTH,))


def client(process: Process, context: int, goid: int = 99, interface: int | None = None) -> np.void:
    """A client operation on another goroutine with that context; returns its header."""
    process.goroutine(0xC000002000, goid)
    place = Place({CONTEXT_ARGUMENT: Register("rbx")}, None, 0)
    walk = ir.ContextWalk(ir.Const(0), CONTEXT_ARGUMENT, (), interface=interface)
    process.run(ir.Begin(CLIENT, (), None, walk, None, False, True), place, rbx=context, r14=0xC000002000)
    process.run(ir.End(CLIENT, 0, True, (), False, None, True), place, r14=0xC000002000)
    return process.records()[-1][0]


def serve(process: Process, context: int) -> None:
    own = capture(CONTEXT, CONTEXT_ARGUMENT)
    place = Place({CONTEXT_ARGUMENT: Register("rbx")}, None, 0)
    process.run(begin(own, own=CONTEXT_ARGUMENT), place, rbx=context)


def finish(process: Process) -> np.void:
    process.run(end(own=ir.Kept(CONTEXT)))
    return process.records()[-1][0]


def test_a_client_finds_its_parent_by_its_context() -> None:
    process = Process()
    chain = [0xC000040000 + 0x100 * step for step in range(12)]
    for inner, outer in zip(chain[1:], chain, strict=False):
        process.memory.write(inner, struct.pack("<QQ", 0x1234, outer))
    serve(process, chain[0])
    child = client(process, chain[-1])
    parent = finish(process)
    assert bytes(child["trace_id"]) == bytes(parent["trace_id"])
    assert bytes(child["parent_id"]) == bytes(parent["span_id"])
    assert child["flags"] & RecordFlags.LOCAL_PARENT
    assert child["flags"] & RecordFlags.SAMPLED
    orphan = client(process, chain[-1])
    assert bytes(orphan["parent_id"]) == bytes(8), "the request is over: there is no parent"


def test_only_an_interface_of_the_contexts_own_type_is_followed() -> None:
    """A type of the program's own may begin with anything; what it leads to is nobody's parent."""
    process = Process()
    itab, other, interface = 0xC000050000, 0xC000051000, 0x7000
    process.memory.write(itab, struct.pack("<QQ", TARGET.bias + interface, 1))
    process.memory.write(other, struct.pack("<QQ", TARGET.bias + 0x7100, 1))
    process.memory.write(0xC000040100, struct.pack("<QQ", itab, 0xC000040000))
    process.memory.write(0xC000040200, struct.pack("<QQ", other, 0xC000040000))
    process.memory.write(0xC000040300, struct.pack("<QQ", 5, 0xC000040000))
    serve(process, 0xC000040000)
    contexts = [0xC000040000 + at for at in (0, 0x100, 0x200, 0x300)]
    found = [bytes(client(process, one, interface=interface)["parent_id"]) for one in contexts]
    parent = bytes(finish(process)["span_id"])
    assert found == [parent, parent, bytes(8), bytes(8)]


def test_a_context_that_points_to_what_has_the_parent() -> None:
    """Go 1.20's timerCtx begins with a *cancelCtx."""
    process = Process()
    timer, other = 0x7200, 0x7300
    for itab, type in ((0xC000050000, timer), (0xC000051000, other)):
        process.memory.write(itab, struct.pack("<QQ", 1, TARGET.bias + type))
    process.memory.write(0xC000040300, struct.pack("<QQ", 0xC000040200, 0))  # timerCtx, its *cancelCtx
    process.memory.write(0xC000040200, struct.pack("<QQ", 0xC000051000, 0xC000040100))  # cancelCtx, its parent
    process.memory.write(0xC000040100, struct.pack("<QQ", 0xC000051000, 0xC000040000))
    serve(process, 0xC000040000)
    itab = ir.Input("argument", 2, 0, 8, False)
    place = Place({CONTEXT_ARGUMENT: Register("rbx"), itab: Register("rcx")}, None, 0)
    process.goroutine(0xC000002000, 99)
    for dynamic in (0xC000050000, 0xC000051000):
        walk = ir.ContextWalk(itab, CONTEXT_ARGUMENT, (), behind=(timer,))
        begun = ir.Begin(CLIENT, (), None, walk, None, False, True)
        process.run(begun, place, rbx=0xC000040300, rcx=dynamic, r14=0xC000002000)
        process.run(ir.End(CLIENT, 0, True, (), False, None, True), place, r14=0xC000002000)
    parents = [bytes(header["parent_id"]) for header, _ in process.records()]
    assert parents == [bytes(finish(process)["span_id"]), bytes(8)]


def test_a_cyclic_or_broken_context_ends_the_walk() -> None:
    process = Process()
    process.memory.write(0xC000040000, struct.pack("<QQ", 1, 0xC000040000))
    assert bytes(client(process, 0xC000040000)["parent_id"]) == bytes(8)
    assert bytes(client(process, 0xDEAD00000000)["parent_id"]) == bytes(8)


CHILD = ir.Input("callee", 0, 0, 8, False)
CREATOR = ir.Input("callee", 1, 0, 8, False)


def spawn(process: Process, child: int, creator: int) -> None:
    place = Place({CHILD: Register("rbx"), CREATOR: Register("rcx")}, None, None)
    process.run(ir.Spawn(CHILD, (ir.Alternative((), CREATOR),)), place, rbx=child, rcx=creator)


def test_a_client_finds_its_parent_by_its_goroutines_ancestry() -> None:
    process = Process()
    serve(process, 0xC000040000)
    for child, creator in ((50, GOID), (51, 50), (52, 51), (53, 52)):
        spawn(process, child, creator)
    child = client(process, 0, goid=53)
    stranger = client(process, 0, goid=54)
    parent = finish(process)
    assert bytes(child["parent_id"]) == bytes(parent["span_id"])
    assert bytes(stranger["parent_id"]) == bytes(8)
    late = client(process, 0, goid=53)
    assert bytes(late["parent_id"]) == bytes(8), "an ended request is no parent"
    serve(process, 0xC000040000)  # the next request on the same connection's goroutine
    later = client(process, 0, goid=53)
    assert bytes(later["parent_id"]) == bytes(8), "the goroutine came from the request before"


def test_an_annotation_reaches_the_operation_of_the_creator() -> None:
    process = Process()
    serve(process, 0xC000040000)
    spawn(process, 60, GOID)
    process.goroutine(0xC000003000, 60)
    process.run(ir.Annotate(LAYOUT, (capture(STATUS, ir.Const(42)),)), r14=0xC000003000)
    finish(process)
    assert number(process.machine.ring[-1], STATUS) == 42


def test_a_begin_below_that_is_about_the_same_is_the_same_operation() -> None:
    process = Process()
    about = replace(begin(capture(CONTEXT, ARGUMENT), by_depth=True), subject=ARGUMENT)
    ended = replace(end(by_depth=True), subject=ir.Kept(CONTEXT), certain=False)
    process.run(about, rax=0x111)
    process.run(about, rax=0x111, rsp=SP - 0x100)
    process.run(about, rax=0x222, rsp=SP - 0x200)
    process.run(about, rax=0x222, rsp=SP - 0x300)
    assert (process.count(Counter.BEGUN), process.count(Counter.NESTED)) == (2, 2)
    process.goroutine(0xC000002000, 30)
    process.run(about, rax=0x111, r14=0xC000002000, rsp=SP - 0x100)
    assert process.count(Counter.BEGUN) == 3, "another goroutine's is another operation"
    for depth in (0x300, 0x200, 0x100, 0):
        process.run(ended, rsp=SP - depth)
    assert len(process.records()) == 2
    assert process.count(Counter.NO_BEGIN) == 0
    process.run(ended, r14=0xC000002000, rsp=SP - 0x100)
    assert process.machine.maps[frame.SCOPES].values == {}
    assert process.machine.maps[frame.ROWS].values == {}


def test_what_a_panic_unwound_does_not_hide_a_later_begin_about_the_same() -> None:
    process = Process()
    about = replace(begin(capture(CONTEXT, ARGUMENT), by_depth=True), subject=ARGUMENT)
    process.run(about, rax=0x111, rsp=SP - 0x100)
    process.run(about, rax=0x111, rsp=SP - 0x100)
    process.run(about, rax=0x111)
    assert (process.count(Counter.BEGUN), process.count(Counter.NESTED)) == (3, 0)


def test_what_turns_out_to_be_no_operation_is_forgotten() -> None:
    process = Process()
    process.run(begin(own=ARGUMENT))
    process.run(replace(end(own=ir.Kept(CONTEXT)), discard=True, certain=False))
    process.run(replace(end(), certain=False))
    assert process.records() == []
    assert process.count(Counter.NO_BEGIN) == process.count(Counter.ENDED) == 0
    assert process.machine.maps[frame.ROWS].values == {}


def test_what_comes_from_elsewhere_is_no_child_of_this_process() -> None:
    """A server's begin has headers to tell its parent, and nothing of its own process."""
    process = Process()
    process.run(begin())
    process.run(begin(by_depth=True, remote=ir.TraceParent(())), rsp=SP - 0x100)
    process.run(begin(by_depth=True), rsp=SP - 0x200)
    process.run(end(by_depth=True), rsp=SP - 0x200)
    process.run(end(by_depth=True), rsp=SP - 0x100)
    inner, middle = (header for header, _ in process.records())
    assert inner["flags"] & RecordFlags.LOCAL_PARENT
    assert not middle["flags"] & RecordFlags.LOCAL_PARENT
    assert not middle["parent_id"].any()


def test_a_key_names_the_operation_at_both_ends_on_any_goroutine() -> None:
    process = Process()
    key = {ARGUMENT: Register("rax")}
    place = Place(key, None, 0)
    first, second = (ir.Begin(LAYOUT, (), None, None, None, True, False, ARGUMENT) for _ in range(2))
    process.run(first, place, rax=0x111)
    process.goroutine(0xC000002000, 30)
    process.run(second, place, rax=0x222, r14=0xC000002000)
    process.run(ir.Annotate(LAYOUT, (capture(STATUS, ir.Const(5)),), True), place)
    ended = ir.End(LAYOUT, 0, True, (), True, None, False, ARGUMENT)
    process.goroutine(0xC000003000, 31)
    process.run(ended, place, rax=0x111, r14=0xC000003000)
    process.run(ended, place, rax=0x222, r14=0xC000003000)
    process.run(ended, place, rax=0x333, r14=0xC000003000)
    records = process.records()
    assert [int(header["goid"]) for header, _ in records] == [GOID, 30]
    assert [number(record, STATUS) for _, record in records] == [5, None]
    assert process.count(Counter.NO_BEGIN) == 1
    assert process.machine.maps[frame.SCOPES].values == {}


# -- errors ----------------------------------------------------------------------------------------------------------


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


# -- aggregation ------------------------------------------------------------------------------------------------------


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
