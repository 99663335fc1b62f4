"""One script's state in two worlds, the interpreter's and the kernel's, over the same memory: this process's."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import script_routines as world
from bpf_interpreter import Machine
from gotap.bpf.code import Code
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.keys import PREFIX
from gotap.bpf.codegen.script.scriptmaps import map_name
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.codegen.target import Target
from gotap.observe.scriptmaps import Entry
from gotap.probe import ir
from gotap.probe.script.bound import MapKind, MapSpec
from gotap.probe.script.record import EVENT
from script_kernel import Heap, KernelScript, LiveMemory
from script_model import Model, Seen
from script_process import Event, emulated_maps

GOID = 77
#: What differs from world to world: when, and where it ran.
_MOMENT = ("begin", "end", "tid", "cpu")
_COMM = Path("/proc/self/comm").read_bytes().strip()

TARGET = Target(3, os.getpid(), None, 0x400000, ir.Load(ir.Goroutine(), 152, 8, False, True),
                ir.Load(ir.Goroutine(), 8, 8, False, True))  # fmt: skip


def setting(has_loop: bool = True) -> ScriptSetting:
    return ScriptSetting(frame_size=1500, slots=16, locals=world.LOCALS, own=world.OWN, own_texts=world.OWN_TEXTS,
                         maps=world.MAPS, has_loop=has_loop)  # fmt: skip


class Goroutine:
    """A g and a stack, and the registers that lead to them."""

    def __init__(self, heap: Heap, goid: int = GOID) -> None:
        self.stack = heap.reserve(0x4000)
        self.high = self.stack + 0x2000  # above it stands what the stubs keep
        image = bytearray(256)
        struct.pack_into("<Q", image, 8, self.high)
        struct.pack_into("<Q", image, 152, goid)
        self.g = heap.put(bytes(image))

    def registers(self, depth: int = 0x400) -> dict[str, int]:
        return {"r14": self.g, "rsp": self.high - depth}


def normal(data: bytes) -> tuple[bytes, tuple[bytes | None, ...]]:
    """What an event says, without what differs from run to run: header, columns, texts.

    Columns that are absent hold what the frame's last user left there, and who that was depends on the CPU.
    """
    event, header = Event(data), np.frombuffer(data[: EVENT.itemsize], EVENT).copy()
    for name in _MOMENT:
        header[name] = 0
    columns = [data[one.offset : one.offset + 8] if event.has(one) else None for one in world.LAYOUT.columns]
    return header.tobytes(), (*columns, *(event.text(one) for one in world.TEXTS))


class Emulated:
    """The interpreter's world."""

    def __init__(self, setting: ScriptSetting) -> None:
        self.setting = setting
        self.maps = emulated_maps(setting)
        self.machine = Machine(self.maps, memory=LiveMemory(), pid_tgid=os.getpid() << 32 | 99, comm=_COMM)

    def run(self, code: Code, registers: Mapping[str, int], cookie: int = 0) -> None:
        self.machine.cookie = cookie
        self.machine.run(code, registers)

    def events(self) -> list[bytes]:
        ring = self.maps[script_frame.RING]
        return ring.drain()  # type: ignore[attr-defined, no-any-return]

    def entries(self, spec: MapSpec) -> dict[bytes, bytes]:
        return {key: bytes(value) for key, value in self.maps[map_name(spec)].values.items()}

    def hash(self, name: str) -> dict[bytes, bytes]:
        return {key: bytes(value) for key, value in self.maps[name].values.items()}

    def counts(self, probe: int = 0) -> list[int]:
        value = self.maps[script_frame.COUNTERS].values[struct.pack("<I", probe)]
        return list(struct.unpack(f"<{script_frame.COUNTER_COUNT}Q", value))


class Real:
    """The kernel's."""

    def __init__(self, script: KernelScript) -> None:
        self.script = script

    def events(self) -> list[bytes]:
        return in_order(self.script)

    def entries(self, spec: MapSpec) -> dict[bytes, bytes]:
        """Of a per-CPU map what one CPU would have, had it run all."""
        made = self.script.maps._maps[map_name(spec)]
        if spec.kind is MapKind.VALUE:
            return dict(made.items())
        return {key: _merged(value, made.value_size) for key, value in made.items()}

    def hash(self, name: str) -> dict[bytes, bytes]:
        return dict(self.script.map(name).items())

    def counts(self, probe: int = 0) -> list[int]:
        return self.script.counts(probe)


def in_order(script: KernelScript) -> list[bytes]:
    """Events of all sizes as they were sent."""
    placed = [(int(place), row.tobytes()) for rows, places in script.work.ring.read_placed()
              for row, place in zip(rows, places, strict=True)]  # fmt: skip
    return [data for _, data in sorted(placed)]


def _merged(value: bytes, size: int) -> bytes:
    words = np.frombuffer(value, np.uint64).reshape(-1, size // 8)
    sums, greatest = words.sum(axis=0, dtype=np.uint64), words.max(axis=0)
    return b"".join((sums if index < 2 else greatest)[index].tobytes() for index in range(size // 8))


def agrees(model: Model, emulated: Emulated) -> None:
    """What the interpreter did is what the model says is meant."""
    seen = [_seen(Event(data)) for data in emulated.events()]
    assert seen == model.events
    for spec in world.MAPS:
        found = {key[:4] + key[PREFIX:]: value for key, value in emulated.entries(spec).items()}
        if spec.kind is MapKind.VALUE:
            assert found == model.stored.get(spec.number, {}), spec.name
            continue
        expected = {key: _tallied(spec, value) for key, value in model.tallied.get(spec.number, {}).items()}
        assert found == expected, spec.name
    counts = emulated.counts()
    assert counts[script_frame.Counter.UNREADABLE] == model.skipped
    assert counts[script_frame.Counter.LOOP_CUT] == model.cut


def _tallied(spec: MapSpec, value: tuple[int, int, int, int]) -> bytes:
    count, sum, least, greatest = value
    if spec.kind is MapKind.COUNT:
        return struct.pack("<Q", count)
    bias, mask = 1 << 63, (1 << 64) - 1
    return struct.pack("<4Q", count, sum & mask, ~(least + bias) & mask, greatest + bias & mask)


def _seen(event: Event) -> Seen:
    columns: dict[str, int | tuple[bytes, int]] = {}
    for column in world.NUMBERS:
        if event.has(column):
            columns[column.name] = struct.unpack_from("<Q", event.data, column.offset)[0]
    for column in world.TEXTS:
        data = event.text(column)
        if data is not None:
            columns[column.name] = data, struct.unpack_from("<I", event.data, column.offset + 4)[0]
    return Seen(int(event.header["event"]), columns)


def fresh(heap: Heap, seed: int) -> tuple[Model, random.Random, int]:
    """A model of this process's memory, and the address of a random structure."""
    rng = random.Random(seed)
    pointer = world.structure(heap, rng, world.structure(heap, rng))
    memory = LiveMemory()
    return Model(memory.read, {spec.number: spec for spec in world.MAPS}, world.OWN_TEXTS, _COMM), rng, pointer


__all__ = ["GOID", "TARGET", "Emulated", "Entry", "Goroutine", "Real", "agrees", "fresh", "normal", "setting"]
