"""Programs that do one thing with a script's maps, run in the kernel by test_run: they read this process's memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from gotap.kernel.asm import R0, R1, R2, R6, R7, R10, Assembler, Code
from gotap.kernel.bpf import Map, Program, possible_cpus
from gotap.kernel.codegen.keys import KeyEmitter, Scratch, TextSources
from gotap.kernel.codegen.planner import Plan
from gotap.kernel.codegen.script_frame import (
    FRAME_SCRATCH,
    FRAMES,
    IN_FRAME,
    KEY_BUFFER,
    KEY_BUFFER_SIZE,
    VALUE_BUFFER_SIZE,
)
from gotap.kernel.codegen.scriptmaps import ScriptMapEmitter
from gotap.kernel.codegen.stacks import StackEmitter
from gotap.kernel.codegen.words import WordEmitter
from gotap.kernel.scriptmaps import ScriptMaps
from gotap.kernel.syscalls import MapType, ProgramType
from gotap.probe import ir
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind

TARGET = 7
RECORD = 4096
#: Where programs leave words for the test, offset from R7.
ANSWER = 1024
#: Another map's value, behind the record.
FRAME_TAIL = 4096

INT, UINT, TEXT = Part(PartKind.INT), Part(PartKind.UINT), Part(PartKind.TEXT, 8 + 128)


class AllFeatures:
    def has(self, feature: str) -> bool:
        return True


def spec(kind: MapKind, *keys: Part, value: Part = UINT, number: int = 0, **more: object) -> MapSpec:
    return MapSpec(number, "@m", kind, keys, value, **more)  # type: ignore[arg-type]


class Text:
    """Bytes of this process, as a text of the intermediate form."""

    def __init__(self, value: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(value, len(value) + 1)
        self.address = ctypes.addressof(self._buffer)
        self.text = ir.Text(ir.Const(self.address), ir.Const(len(value)))


def emitter(asm: Assembler, specs: Sequence[MapSpec], full: Callable[[], None], cpus: int) -> ScriptMapEmitter:
    """An emitter whose programs have a frame at R7; KeptText columns are in it."""
    words = WordEmitter(asm, {}, 0, Plan(), IN_FRAME)
    maps: list[ScriptMapEmitter] = []
    sources = TextSources(
        own=lambda slot, fail: asm.jump(fail),
        stored=lambda text, fail: maps[0].stored_text(text, fail),
        frame=RECORD,
    )
    scratch = Scratch(R7, KEY_BUFFER, KEY_BUFFER_SIZE + VALUE_BUFFER_SIZE - 8)
    keys = KeyEmitter(asm, words, StackEmitter(asm, words, None, None), scratch, sources, TARGET)
    maps.append(ScriptMapEmitter(asm, words, keys, {one.number: one for one in specs}, full, cpus))
    return maps[0]


def program(specs: Sequence[MapSpec], body: Callable[[Assembler, ScriptMapEmitter], None], cpus: int) -> Code:
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


def answer(asm: Assembler) -> None:
    """Leaves R0 for the test."""
    asm.store(R7, ANSWER, R0)


class Bench:
    """The maps in the kernel, and programs on them."""

    def __init__(self, *specs: MapSpec) -> None:
        self.specs = specs
        self.maps = ScriptMaps(specs, AllFeatures())
        self.frames = Map.create(MapType.ARRAY, 4, FRAME_SCRATCH + RECORD + FRAME_TAIL, 1)

    def run(self, body: Callable[[Assembler, ScriptMapEmitter], None], *, repeat: int = 1, cpu: int | None = None) -> int:
        """1 when something failed. `cpu`: which one the program runs on."""
        code = program(self.specs, body, possible_cpus())
        descriptors = {**self.maps.descriptors, FRAMES: self.frames.fd}
        allowed = os.sched_getaffinity(0)
        with Program.load(code.bytes(descriptors), ProgramType.RAW_TRACEPOINT, "test") as loaded:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            try:
                results = {loaded.test_run() for _ in range(repeat)}
            finally:
                os.sched_setaffinity(0, allowed)
        assert len(results) == 1
        return results.pop()

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
