"""An emulated kernel that runs the programs of scripts, and a Go process with goroutines."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np

from bpf_interpreter import (
    ArrayMap,
    EmulatedMap,
    HashMap,
    Machine,
    PerCpuArrayMap,
    PerCpuHashMap,
    ProgramArrayMap,
    RingMap,
    UserMemory,
)
from codegen_samples import GOID, HERE, REQUEST, SP, STACK_HIGH, TARGET, TGID, G
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.keys import EPOCHS, key_size
from gotap.bpf.codegen.script.routines import generate_routine
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.scriptmaps import map_name, value_size
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.codegen.target import Place, Target
from gotap.probe.record import TEXT, Column
from gotap.probe.script.bound import MapKind
from gotap.probe.script.record import EVENT
from gotap.probe.script.routine import Routine


def emulated_maps(setting: ScriptSetting, ring: int = 1 << 16, probes: int = 4) -> dict[str, EmulatedMap]:
    """All maps that programs of the setting may refer to."""
    made: dict[str, EmulatedMap] = {
        script_frame.FRAMES: ArrayMap(setting.frame_value_size, setting.slots),
        script_frame.CALLS: HashMap(script_frame.CALL_KEY_SIZE, setting.call_size, 512),
        script_frame.HEADS: HashMap(script_frame.GOROUTINE_KEY_SIZE, setting.head_size, 64),
        script_frame.HEAD_TEMPLATE: ArrayMap(setting.head_size, 1),
        script_frame.HEAD_COUNT: ArrayMap(16, 1),
        script_frame.OWN: HashMap(script_frame.GOROUTINE_KEY_SIZE, setting.own_size, 8),
        script_frame.OWN_TEMPLATE: ArrayMap(setting.own_size, 1),
        script_frame.RING: RingMap(ring),
        script_frame.COUNTERS: PerCpuArrayMap(8 * script_frame.COUNTER_COUNT, probes),
        script_frame.THIN: ArrayMap(4, probes),
        script_frame.STOPPED: ArrayMap(8, 1),
        script_frame.NO_PROGRAMS: ProgramArrayMap(1),
        script_frame.UNWINDERS: ProgramArrayMap(64),
        EPOCHS: ArrayMap(8 * 16, 1),
    }
    heads = made[script_frame.HEADS].max_entries
    made[script_frame.HEAD_COUNT].values[bytes(4)][:] = struct.pack("<QQ", 0, heads // 2)
    for number, size in enumerate(setting.kept_sizes, 1):
        made[f"{script_frame.KEPT}{number}"] = HashMap(script_frame.CALL_KEY_SIZE, size, 512)
    for spec in setting.maps:
        kind = HashMap if spec.kind is MapKind.VALUE else PerCpuHashMap
        made[map_name(spec)] = kind(key_size(spec), value_size(spec), spec.entries)
    return made


def calls_open(setting: ScriptSetting, hash: Callable[[str], Mapping[bytes, bytes]]) -> int:
    """How many calls are open, in a world that tells what its hash maps hold."""
    places = range(script_frame.HEAD_SIZE + script_frame.HERE_LAYOUT, setting.head_size, setting.call_size)
    heads = hash(script_frame.HEADS).values()
    return len(hash(script_frame.CALLS)) + sum(any(head[at : at + 4]) for head in heads for at in places)


class Event:
    """One event: fields of the header as attributes of `header`, columns by name."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.header = np.frombuffer(data[: EVENT.itemsize], EVENT)[0]

    def has(self, column: Column) -> bool:
        return bool(int(self.header["present"]) >> column.index & 1)

    def number(self, column: Column) -> int | None:
        return struct.unpack_from("<q", self.data, column.offset)[0] if self.has(column) else None

    def text(self, column: Column) -> bytes | None:
        if not self.has(column):
            return None
        place = np.frombuffer(self.data[column.offset : column.offset + 8], TEXT)[0]
        return self.data[place["offset"] : place["offset"] + place["kept"]]


class ScriptProcess:
    """The emulated kernel with the maps of a script; one goroutine runs."""

    def __init__(self, setting: ScriptSetting | None = None, ring: int = 1 << 16, target: Target = TARGET) -> None:
        self.setting = setting or ScriptSetting()
        self.target = target
        self.memory = UserMemory()
        self.machine = Machine(emulated_maps(self.setting, ring), memory=self.memory, pid_tgid=TGID << 32 | 99)
        self.goroutine(G, GOID)

    def goroutine(self, g: int, goid: int, stack_high: int = STACK_HIGH) -> None:
        image = bytearray(400)
        struct.pack_into("<Q", image, 8, stack_high)
        struct.pack_into("<Q", image, 152, goid)
        self.memory.write(g, bytes(image))

    def run(self, routine: Routine, place: Place = HERE, probe: int = 0, **registers: int) -> None:
        code = generate_routine(routine, place, self.target, self.setting, probe)
        self.machine.run(code, {"r14": G, "rsp": SP, "rax": REQUEST, "rflags": 0, "rip": 0x401000, **registers})
        self.no_frame_is_held()

    def no_frame_is_held(self) -> None:
        assert not any(any(value[:8]) for value in self.machine.maps[script_frame.FRAMES].values.values())

    def count(self, counter: Counter, probe: int = 0) -> int:
        value = self.machine.maps[script_frame.COUNTERS].values[struct.pack("<I", probe)]
        return int(struct.unpack_from("<Q", value, 8 * counter)[0])

    def events(self) -> list[Event]:
        return [Event(data) for data in self.machine.ring]
