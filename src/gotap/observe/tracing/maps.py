"""What programs of a script work with besides the user's maps, by the names they refer to it."""

from __future__ import annotations

import contextlib
import os
import struct

from gotap.bpf.codegen.script import script_frame as sf
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.enums import MapFlags, MapType, ProgramType
from gotap.bpf.machine import Machine, Map, Program
from gotap.observe.shape_maps import shape_maps
from gotap.probe.shapes import Shapes

#: Calls that are open at once, over all goroutines; more are counted and not followed.
OPEN_CALLS = 65536
#: Of those that keep much from their entry, by how much: the more, the fewer.
_KEPT_BYTES = 32 << 20
#: Goroutines that have open calls, or variables of their own.
GOROUTINES = 65536
#: Without maps that grow, all memory is taken from the start.
_LESS = 16

RING_SIZE = 4 << 20
#: Frames: so many programs of one CPU may be at work, or preempted at work, at once.
_LEAST_SLOTS, _MOST_SLOTS, _SLOTS_PER_CPU = 16, 1024, 4


def frame_slots() -> int:
    """A power of two."""
    wanted = max(_LEAST_SLOTS, _SLOTS_PER_CPU * (os.cpu_count() or 1))
    return min(1 << (wanted - 1).bit_length(), _MOST_SLOTS)


class WorkMaps:
    """Frames, open calls, goroutines, counters, the ring. Closing it closes all of them."""

    def __init__(self, machine: Machine, setting: ScriptSetting, probes: int, programs: int, *, grows: bool,
                 calls: bool = True, ring_size: int = RING_SIZE) -> None:
        """`probes`: how many are counted; `programs`: how many there can be; `grows`: maps may take memory as they
        need it; `calls`: some follow calls.
        """
        self._machine = machine
        self._memory_grows_late = setting.own_frames  # inside the target maps get memory when gotap comes by
        self._undo = contextlib.ExitStack()
        self.maps: dict[str, Map] = {}
        self._hash_flags = MapFlags.NO_PREALLOC if grows else 0
        self._share = 1 if grows else _LESS
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._make(setting, probes)
            if calls:
                self._make_calls(setting, programs)
            self.ring = machine.make_ring(ring_size, "gotap_ring")
            self._undo.callback(self.ring.close)
            self.maps[sf.RING] = self.ring.map
            undo.pop_all()
        #: Tail calls go to programs of one type only, so that each type has a program array of its own.
        self._no_programs: dict[ProgramType, Map] = {}

    def _make(self, setting: ScriptSetting, probes: int) -> None:
        frames = self._machine.make_frames(setting.frame_value_size, setting.slots, "gotap_frames")
        self._undo.callback(frames.close)
        self.maps[sf.FRAMES] = frames
        if setting.own:
            self._hash(sf.OWN, sf.GOROUTINE_KEY_SIZE, setting.own_size, GOROUTINES)
            self._map(sf.OWN_TEMPLATE, MapType.ARRAY, 4, setting.own_size, 1)
        self._map(sf.COUNTERS, MapType.PERCPU_ARRAY, 4, 8 * sf.COUNTER_COUNT, max(probes, 1))
        if setting.stops:
            self._map(sf.STOPPED, MapType.ARRAY, 4, 8, 1)
        if setting.thinning:
            self._map(sf.THIN, MapType.ARRAY, 4, 4, max(probes, 1))

    def _make_calls(self, setting: ScriptSetting, programs: int) -> None:
        self._hash(sf.CALLS, sf.CALL_KEY_SIZE, setting.call_size, OPEN_CALLS)
        for number, size in enumerate(setting.kept_sizes, 1):
            self._hash(f"{sf.KEPT}{number}", sf.CALL_KEY_SIZE, size, min(OPEN_CALLS, _KEPT_BYTES // size))
        self._hash(sf.HEADS, sf.GOROUTINE_KEY_SIZE, setting.head_size, GOROUTINES)
        self._map(sf.HEAD_TEMPLATE, MapType.ARRAY, 4, setting.head_size, 1)
        self._map(sf.HEAD_COUNT, MapType.ARRAY, 4, 16, 1)
        self._count_heads()
        if setting.unwinder:
            self._map(sf.UNWINDERS, MapType.PROG_ARRAY, 4, 4, 1 + programs)

    def _hash(self, name: str, key: int, value: int, entries: int) -> None:
        self._map(name, MapType.HASH, key, value, max(entries // self._share, 1), self._hash_flags)

    def _map(self, name: str, kind: MapType, key: int, value: int, entries: int, flags: int = 0) -> None:
        made = self._machine.make_map(kind, key, value, entries, flags, f"gotap_{name}"[:15])
        self._undo.callback(made.close)
        self.maps[name] = made

    def by_name(self, kind: ProgramType) -> dict[str, Map]:
        """What programs of this type refer to."""
        if kind not in self._no_programs:
            made = self._no_programs[kind] = self._machine.make_map(MapType.PROG_ARRAY, 4, 4, 1, name="gotap_none")
            self._undo.callback(made.close)
        return self.maps | {sf.NO_PROGRAMS: self._no_programs[kind]}

    def add_shapes(self, shapes: Shapes) -> None:
        """What captures of values work from."""
        for name, made in shape_maps(self._machine, shapes.table(), shapes.dynamic).items():
            self._undo.callback(made.close)
            self.maps[name] = made
        shapes.forget()

    def counts(self, probe: int) -> list[int]:
        """The counters of a probe, see script_frame.Counter."""
        words = self.maps[sf.COUNTERS].lookup_sum(struct.pack("<I", probe))
        return [] if words is None else [int(word) for word in words]

    def forget_calls(self) -> None:
        """What is known of open calls goes: nobody is going to end them. No program of the script may run."""
        names = [name for name in self.maps if name in (sf.CALLS, sf.HEADS) or name.startswith(sf.KEPT)]
        for name in names:
            for key in list(self.maps[name].keys()):
                self.maps[name].delete(key)
        if names:
            self._count_heads()

    def _count_heads(self) -> None:
        """There are none, and half of those that there is memory for may stay though they have no open call."""
        room = self.maps[sf.HEADS].max_entries
        if self._memory_grows_late:
            room = min(room, sf.READY_HEADS)
        self.maps[sf.HEAD_COUNT].update(bytes(4), struct.pack("<QQ", 0, room // 2))

    def set_unwinder(self, index: int, program: Program) -> None:
        """Where tail calls by this number go; the map keeps the program."""
        self._machine.set_program(self.maps[sf.UNWINDERS], index, program)

    def thin(self, probe: int, factor: int) -> None:
        """From now on one firing of `factor` is taken."""
        self.maps[sf.THIN].update(struct.pack("<I", probe), struct.pack("<I", factor))

    def memory(self) -> int:
        """Bytes of memory they take."""
        return sum(map.memory() for map in self.maps.values())

    def close(self) -> None:
        self._undo.close()
