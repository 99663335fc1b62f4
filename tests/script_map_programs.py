"""Programs that do one thing with a script's maps, run in the kernel by test_run, or in the interpreter: they read
this process's memory.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from weakref import WeakSet

import numpy as np
import pytest
from numpy.typing import NDArray

from bpf_interpreter import ArrayMap, EmulatedMap, HashMap, Machine, PerCpuHashMap, UserMemory
from gotap.bpf.asm import R0, R1, R6, R7, Assembler, Code
from gotap.bpf.codegen.planner import Plan
from gotap.bpf.codegen.script.keys import KeyEmitter, Scratch, TextSources
from gotap.bpf.codegen.script.script_frame import (
    FRAME_SCRATCH,
    FRAMES,
    IN_FRAME,
    KEY_BUFFER,
    KEY_BUFFER_SIZE,
    VALUE_BUFFER_SIZE,
)
from gotap.bpf.codegen.script.scriptmaps import ScriptMapEmitter
from gotap.bpf.codegen.script.stacks import StackEmitter
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.enums import MapType, ProgramType
from gotap.kernel.bpf import Map, Program, possible_cpus
from gotap.kernel.machine import KernelMachine
from gotap.observe.scriptmaps import ScriptMaps
from gotap.probe import ir
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind
from gotap.probe.script.routine import ClearMap, Remove, Store, Tally
from kernel_maps import fds

TARGET = 7
RECORD = 4096
#: Where programs leave words for the test, offset from R7.
ANSWER = 1024
#: Another map's value, behind the record.
FRAME_TAIL = 4096

INT, UINT, TEXT = Part(PartKind.INT), Part(PartKind.UINT), Part(PartKind.TEXT, 8 + 128)


Statement = Tally | Store | Remove | ClearMap
Body = Callable[[Assembler, ScriptMapEmitter], None]


class AllFeatures:
    def has(self, feature: str) -> bool:
        return True


def spec(kind: MapKind, *keys: Part, value: Part = UINT, number: int = 0, **more: object) -> MapSpec:
    return MapSpec(number, "@m", kind, keys, value, **more)  # type: ignore[arg-type]


class Text:
    """Bytes of this process, as a text of the intermediate form."""

    alive: ClassVar[WeakSet[Text]] = WeakSet()

    def __init__(self, value: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(value, len(value) + 1)
        self.content = value + b"\0"
        self.alive.add(self)
        self.address = ctypes.addressof(self._buffer)
        self.text = ir.Text(ir.Const(self.address), ir.Const(len(value)))


class _Words(WordEmitter):
    """Words of which some are in maps: those of the one emitter."""

    def __init__(self, asm: Assembler, *more: Any) -> None:
        super().__init__(asm, *more)
        self.maps: list[ScriptMapEmitter] = []

    def word(self, word: ir.Word, fail: str) -> None:
        if isinstance(word, ir.Stored):
            self.maps[0].stored(word, fail)
        else:
            super().word(word, fail)


def emitter(asm: Assembler, specs: Sequence[MapSpec], full: Callable[[], None], cpus: int) -> ScriptMapEmitter:
    """An emitter whose programs have a frame at R7; KeptText columns are in it."""
    words = _Words(asm, {}, 0, Plan(), IN_FRAME)
    maps = words.maps
    sources = TextSources(
        own=lambda slot, fail: asm.jump(fail),
        stored=lambda text, fail: maps[0].stored_text(text, fail),
        frame=RECORD,
        limit=lambda text: next(one.value.size for one in specs if one.number == getattr(text, "map", None)) - 8,
    )
    scratch = Scratch(R7, KEY_BUFFER, KEY_BUFFER_SIZE + VALUE_BUFFER_SIZE - 8)
    keys = KeyEmitter(asm, words, StackEmitter(asm, words, None, None), scratch, sources, TARGET)
    maps.append(ScriptMapEmitter(asm, words, keys, {one.number: one for one in specs}, full, cpus))
    return maps[0]


def program(specs: Sequence[MapSpec], body: Body, cpus: int) -> Code:
    """Runs `body` with R7 at the frame; jumps to `fail` return 1, falling through returns 0; `full` is counted."""
    asm = Assembler()
    asm.mov(R6, R1)
    asm.ld_map_value(R7, FRAMES)
    asm.add(R7, FRAME_SCRATCH)

    def full() -> None:
        asm.load(R1, R7, ANSWER + 8)
        asm.add(R1, 1)
        asm.store(R7, ANSWER + 8, R1)

    asm.load(R1, R7, ANSWER + 16)
    asm.jeq(R1, -1, "fail")  # never: the verifier refuses what cannot be reached
    body(asm, emitter(asm, specs, full, cpus))
    asm.mov(R0, 0)
    asm.exit_()
    asm.label("fail")
    asm.mov(R0, 1)
    asm.exit_()
    return asm.finish()


def emit(maps: ScriptMapEmitter, statements: Sequence[Statement]) -> None:
    for one in statements:
        match one:
            case Tally():
                maps.tally(one, "fail")
            case Store():
                maps.store(one, "fail")
            case Remove():
                maps.remove(one, "fail")
            case ClearMap():
                maps.clear(one)


def answer(asm: Assembler) -> None:
    """Leaves R0 for the test."""
    asm.store(R7, ANSWER, R0)


class _Emulated:
    """A map of the interpreter, as much of gotap.kernel.bpf.Map as reading needs."""

    def __init__(self, kind: MapType, key_size: int, value_size: int, max_entries: int, *_: object, **__: object
                 ) -> None:
        self.fd = -1
        self.value_size = value_size
        self.emulated: EmulatedMap
        if kind is MapType.ARRAY:
            self.emulated = ArrayMap(value_size, max_entries)
        elif kind is MapType.PERCPU_HASH:
            self.emulated = PerCpuHashMap(key_size, value_size, max_entries, possible_cpus())
        else:
            self.emulated = HashMap(key_size, value_size, max_entries)

    def lookup(self, key: bytes) -> bytes | None:
        value = self.emulated.values.get(key)
        return None if value is None else bytes(value)

    def update(self, key: bytes, value: bytes) -> bool:
        return self.emulated.update(key, value, 0, 0) == 0

    def delete(self, key: bytes) -> bool:
        return self.emulated.delete(key) == 0

    def keys(self) -> list[bytes]:
        return list(self.emulated.values)

    def entries(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        keys = list(self.emulated.values)
        by_cpu = self.emulated.cpu_values if isinstance(self.emulated, PerCpuHashMap) else [self.emulated.values]
        values = b"".join(bytes(one[key]) for key in keys for one in by_cpu)
        rows = np.frombuffer(values, np.uint8).reshape(len(keys), len(by_cpu) * self.value_size)
        return np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), self.emulated.key_size), rows

    def memory(self) -> int:
        return 1

    def close(self) -> None: ...


class Bench:
    """The maps, and programs on them. `interpreted`: by the interpreter, without the kernel."""

    interpreted = False

    def __init__(self, *specs: MapSpec, cleared: Collection[int] = ()) -> None:
        self.specs = specs
        create: Any = _Emulated if self.interpreted else Map.create
        machine = KernelMachine(AllFeatures())
        with pytest.MonkeyPatch.context() as patch:
            if self.interpreted:
                patch.setattr(machine, "make_map", _Emulated)
            self.maps = ScriptMaps(machine, specs, grows=True, cleared=cleared)
        self.frames = create(MapType.ARRAY, 4, FRAME_SCRATCH + RECORD + FRAME_TAIL, 1)

    def do(self, *statements: Statement, cpu: int | None = None) -> bool:
        """False when a statement failed."""
        return self.run(lambda asm, maps: emit(maps, statements), cpu=cpu)

    def stored(self, map: int, *keys: ir.Key, sum: bool = False) -> int:
        """What programs read there."""

        def body(asm: Assembler, maps: ScriptMapEmitter) -> None:
            maps.stored(ir.Stored(map, keys, sum), "fail")
            answer(asm)

        assert self.run(body)
        return self.answer()

    def run(self, body: Body, *, cpu: int | None = None) -> bool:
        """False when it jumped to `fail`. `cpu`: which one the program runs on."""
        code = program(self.specs, body, possible_cpus())
        if self.interpreted:
            maps = {name: map.emulated for name, map in self.maps.by_name.items()}  # type: ignore[attr-defined]
            memory = UserMemory({one.address: one.content for one in Text.alive})
            name = Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_bytes().strip()
            machine = Machine({**maps, FRAMES: self.frames.emulated}, memory, cpu=cpu or 0, comm=name)
            return machine.run(code, {}) == 0
        descriptors = {**fds(self.maps.by_name), FRAMES: self.frames.fd}
        allowed = os.sched_getaffinity(0)
        with Program.load(code.bytes(descriptors), ProgramType.RAW_TRACEPOINT, "test") as loaded:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            try:
                return loaded.test_run() == 0
            finally:
                os.sched_setaffinity(0, allowed)

    def frame(self) -> bytes:
        """The frame from R7 on."""
        return (self.frames.lookup(bytes(4)) or b"")[FRAME_SCRATCH:]

    def write_frame(self, offset: int, data: bytes) -> None:
        whole = bytearray(self.frames.lookup(bytes(4)) or b"")
        whole[FRAME_SCRATCH + offset : FRAME_SCRATCH + offset + len(data)] = data
        self.frames.update(bytes(4), bytes(whole))

    def answer(self) -> int:
        """What the last program left."""
        return int.from_bytes(self.frame()[ANSWER : ANSWER + 8], "little")

    def full(self) -> int:
        """How many entries found no room."""
        return int.from_bytes(self.frame()[ANSWER + 8 : ANSWER + 16], "little")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.maps.close()
        self.frames.close()
