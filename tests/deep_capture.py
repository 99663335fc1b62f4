"""Deep captures of a made-up Go heap, by the interpreter or by the kernel, and what they leave in the record.

The heap lies in this process's own memory, so that a program which the kernel runs on demand here reads it as it would
read a Go program's.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bpf_interpreter import ArrayMap, Machine, UserMemory
from gotap.bpf.asm import R0, R6, R7, Assembler, Code
from gotap.bpf.asm import R1 as CONTEXT
from gotap.bpf.codegen.planner import Plan
from gotap.bpf.codegen.script import deep_memory as memory
from gotap.bpf.codegen.script.deep import DeepEmitter, DeepSetting
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.enums import MapType, ProgramType
from gotap.kernel.bpf import Map, Program
from gotap.kernel.features import essential
from gotap.kernel.machine import KernelMachine
from gotap.observe.shape_maps import descriptor_pairs, shape_maps
from gotap.probe import ir
from gotap.probe.record import HEADER, TEXT, Column, ColumnKind
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import CHUNK, EVENT, EventFlags
from gotap.probe.script.routine import CaptureValue
from gotap.probe.shapes import Dynamic
from gotap.probe.shapes_table import HEAD, POINTER, Pointer, Shape
from kernel_maps import fds

FRAME = "frame"
TAIL = 4096
HEAP = HEADER.itemsize + 8 * 8  # eight columns
SIZE = 1 << 20

_libc = ctypes.CDLL(None)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

Run = Callable[[Code, DeepSetting, "Heap", "Table"], bytes]


class Heap:
    """Memory of this process that stands for a Go program's."""

    def __init__(self) -> None:
        self._pages = mmap.mmap(-1, SIZE + mmap.PAGESIZE)
        self._pages.write(bytes(SIZE))  # so that all of it is in memory: programs cannot wait for it
        self._bytes = (ctypes.c_char * SIZE).from_buffer(self._pages)
        self.start = ctypes.addressof(self._bytes)
        assert _libc.mprotect(self.start + SIZE, mmap.PAGESIZE, 0) == 0  # nothing is readable behind it
        self.memory = UserMemory({self.start: bytes(SIZE)})
        self._next = 64

    def reserve(self, size: int, at: int | None = None) -> int:
        """Address of as many zeros; `at`: how far from the start."""
        place = self._next if at is None else at
        self._next = max(self._next, place + (size + 15 & ~15) + 16)
        assert self._next <= SIZE
        return self.start + place

    def put(self, data: bytes, at: int | None = None) -> int:
        address = self.reserve(len(data), at)
        self.write(address, data)
        return address

    def write(self, address: int, data: bytes) -> None:
        self._pages[address - self.start : address - self.start + len(data)] = data
        self.memory.write(address, data)

    def words(self, *values: int) -> int:
        return self.put(struct.pack(f"<{len(values)}Q", *values))

    def string(self, text: bytes) -> bytes:
        return struct.pack("<QQ", self.put(text), len(text))


@dataclass
class Table:
    """Shapes by number, and which descriptors they are of: 8-byte steps from `first`."""

    shapes: Sequence[Shape] = ()
    first: int = 0
    numbers: Sequence[int] = ()

    def arrays(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.void]], np.ndarray[tuple[int], np.dtype[np.void]]]:
        heads = [(0, 0, 0, 0, 0)]
        rows: list[tuple[int, ...]] = []
        for shape in self.shapes:
            heads.append((shape.size, shape.kept, len(rows), len(shape.pointers), shape.flags))
            rows += [pointer.row() for pointer in shape.pointers]
        return np.array(heads, HEAD), np.array(rows, POINTER)

    def dynamic(self) -> Dynamic:
        return Dynamic(self.first, np.array(self.numbers, np.uint32))


@dataclass
class Captured:
    """A record's captured values: each column's bytes (None: absent), chunks in their order, flags."""

    record: bytes
    columns: list[tuple[int, bytes] | None]  # length, kept bytes
    chunks: list[tuple[int, int, bytes]]  # address, full, bytes
    flags: EventFlags
    used: int
    wrapped: int = field(default=0)

    def at(self, address: int) -> bytes:
        """The longest that was taken from the address on."""
        return max((data for start, _, data in self.chunks if start == address), key=len)

    def addresses(self) -> list[int]:
        return [address for address, _, _ in self.chunks]


def read(record: bytes) -> Captured:
    header = np.frombuffer(record[: EVENT.itemsize], EVENT)[0]
    columns: list[tuple[int, bytes] | None] = []
    for index in range(8):
        if not int(header["present"]) >> index & 1:
            columns.append(None)
            continue
        at = EVENT.itemsize + 8 * index
        text = np.frombuffer(record[at : at + 8], TEXT)[0]
        columns.append((int(text["length"]), record[text["offset"] : int(text["offset"]) + int(text["kept"])]))
    chunks, wrapped, at, used = [], 0, int(header["chunks"]), int(header["used"])
    while at and at + CHUNK.itemsize <= used:
        one = np.frombuffer(record[at : at + CHUNK.itemsize], CHUNK)[0]
        address, length, full = (int(one[name]) for name in ("address", "length", "full"))
        if address:
            chunks.append((address, full, record[at + CHUNK.itemsize : at + CHUNK.itemsize + length]))
        else:
            wrapped += 1
        at += CHUNK.itemsize + (length + 7 & ~7)
    assert not at or used - CHUNK.itemsize < at <= used
    return Captured(record, columns, chunks, EventFlags(int(header["flags"])), used, wrapped)


def setting(limits: Limits = Limits(), table: Table | None = None, **changes: object) -> DeepSetting:  # noqa: B008
    values: dict[str, object] = {
        "record_size": 16384,
        "scratch": -memory.SCRATCH_SIZE,
        "tail": TAIL,
        "slot": -8,
        "limits": limits,
        "dynamic_first": table.first if table else 0,
        "dynamic_count": len(table.numbers) if table else 0,
    }
    return DeepSetting(**{**values, **changes})  # type: ignore[arg-type]


def column(index: int) -> Column:
    return Column(f"c{index}", ColumnKind.VALUE, index)


def words_of(data: bytes) -> tuple[tuple[int, int, ir.Word], ...]:
    """Parts of a value that is in registers."""
    return tuple((at, 8, ir.Const(int.from_bytes(data[at : at + 8], "little"))) for at in range(0, len(data), 8))


def value(index: int, shape: int, data: bytes) -> CaptureValue:
    return CaptureValue(column(index), shape, len(data), words_of(data))


def program(events: Iterable[Sequence[CaptureValue]], how: DeepSetting) -> Code:
    """Captures the values of one event after the other into the same frame, as at a call's entry and end."""
    asm = Assembler()
    asm.mov(R6, CONTEXT)
    asm.ld_map_value(R7, FRAME, memory.SCRATCH_SIZE)
    asm.store(R7, memory.field("used"), HEAP, 2)
    for name, size in (("chunks", 2), ("present", 8), ("flags", 1)):
        asm.store(R7, memory.field(name), 0, size)
    deep = DeepEmitter(asm, WordEmitter(asm, {}, how.bias, Plan()), how)
    for values in events:
        deep.open()
        deep.capture(values)
    asm.mov(R0, 0)
    asm.exit_()
    deep.subprograms()
    return asm.finish()


def interpreted(code: Code, how: DeepSetting, heap: Heap, table: Table) -> bytes:
    """The record that the interpreter leaves."""
    heads, pointers = table.arrays()
    maps = {
        FRAME: ArrayMap(memory.SCRATCH_SIZE + how.record_size + how.tail, 1),
        memory.SHAPES: _rows(heads),
        memory.SHAPE_POINTERS: _rows(pointers),
        memory.DESCRIPTORS: _rows(descriptor_pairs(table.dynamic())),
    }
    Machine(maps, memory=heap.memory).run(code)
    return bytes(maps[FRAME].values[bytes(4)])[memory.SCRATCH_SIZE :]


def _rows(rows: np.ndarray[tuple[int], np.dtype[np.void]] | np.ndarray[tuple[int], np.dtype[np.uint64]]) -> ArrayMap:
    made = ArrayMap(rows.itemsize, max(1, len(rows)))
    for index, one in enumerate(rows):
        made.values[struct.pack("<I", index)][:] = one.tobytes()
    return made


def by_the_kernel(code: Code, how: DeepSetting, heap: Heap, table: Table) -> bytes:
    """The record that the kernel leaves, which runs the program here and now."""
    maps = dict(shape_maps(KernelMachine(essential()), table.arrays(), table.dynamic()))
    try:
        maps[FRAME] = Map.create(MapType.ARRAY, 4, memory.SCRATCH_SIZE + how.record_size + how.tail, 1)
        with Program.load(code.bytes(fds(maps)), ProgramType.RAW_TRACEPOINT, subprograms=code.subprograms) as loaded:
            loaded.test_run(context=bytes(64))
        return (maps[FRAME].lookup(bytes(4)) or b"")[memory.SCRATCH_SIZE :]
    finally:
        for one in maps.values():
            one.close()


@dataclass
class Capture:
    """How to capture: with bpf_loop or without, in the interpreter or in the kernel."""

    run: Run
    has_loop: bool

    def __call__(
        self, heap: Heap, table: Table, *events: Sequence[CaptureValue], limits: Limits = Limits(), **changes: object  # noqa: B008
    ) -> Captured:
        how = setting(limits, table, has_loop=self.has_loop, **changes)
        return read(self.run(program(events, how), how, heap, table))


def pointers(*rows: Pointer, size: int = 8, flags: int = 0) -> Shape:
    return Shape(size, size, rows, flags)
