"""An emulated kernel with a Go process in it, for tests of generated programs."""

from __future__ import annotations

import struct

import numpy as np

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
    GOID,
    HERE,
    LAYOUT,
    REQUEST,
    SP,
    STACK_HIGH,
    TARGET,
    TGID,
    G,
)
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.aggregation import KEY_SIZE, VALUE_SIZE
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.program import Options, Place, Target, generate
from gotap.bpf.codegen.tracing import Sampling
from gotap.probe import ir
from gotap.probe.record import HEADER, TEXT, Column

MAP = 0xC000030000  # where tests put a Go map


class Process:
    """An emulated kernel with the maps of the watcher, and a Go process with one goroutine."""

    def __init__(self, sampling: Sampling = Sampling(), ring: int = 1 << 16, target: Target = TARGET) -> None:  # noqa: B008
        self.target = target
        self.memory = UserMemory()
        self.options = Options(sampling)
        self.machine = Machine(
            {
                frame.ROWS: HashMap(frame.ROW_KEY_SIZE, frame.ROW_SIZE, 8),
                frame.SPILL: HashMap(frame.ROW_KEY_SIZE, frame.RECORD_SIZE, 8),
                frame.SCOPES: HashMap(frame.SCOPE_KEY_SIZE, frame.SCOPE_SIZE, 64),
                frame.LINKS: LruHashMap(frame.SCOPE_KEY_SIZE, frame.LINK_SIZE, 64),
                frame.COUNTERS_MAP: PerCpuArrayMap(8 * frame.COUNTER_COUNT, 1),
                frame.TEMPLATE: ArrayMap(frame.ROW_SIZE, 1),
                frame.SPILL_TEMPLATE: ArrayMap(frame.RECORD_SIZE, 1),
                frame.NO_PROGRAMS: ArrayMap(4, 1),
                frame.RING: RingMap(ring),
                frame.AGGREGATES: PerCpuHashMap(KEY_SIZE, VALUE_SIZE, 64),
            },
            memory=self.memory,
            pid_tgid=TGID << 32 | 99,
        )
        # In hooks a new row's scratch holds what was there before: nothing may rest on its zeros.
        template = self.machine.maps[frame.TEMPLATE].values[bytes(4)]
        template[frame.FIRST_PART :] = b"\xa5" * frame.SCRATCH_SIZE
        self.goroutine(G, GOID)

    def goroutine(self, g: int, goid: int) -> None:
        image = bytearray(400)
        struct.pack_into("<Q", image, 8, STACK_HIGH)
        struct.pack_into("<Q", image, 152, goid)
        self.memory.write(g, bytes(image))

    def run(self, action: ir.Action, place: Place = HERE, **registers: int) -> None:
        code = generate(action, place, self.target, self.options, 0)
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
