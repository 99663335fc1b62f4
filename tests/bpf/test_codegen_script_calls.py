"""Calls in the BPF interpreter: pairing, chains, panics, Goexit, ends that nobody saw."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import script_calls
from bpf_interpreter import MAX_TAIL_CALLS
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.routines import generate_routine, generate_unwinder
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.probe.script.routine import Ended
from script_calls import CALL_MAPS, PLACE, PROBE, Calls, Told, calls_setting
from script_kernel import Heap
from script_process import calls_open
from script_worlds import TARGET, Emulated, Goroutine

KINDS = pytest.mark.parametrize(
    ("has_loop", "inside"), [(True, False), (False, False), (True, True)], ids=["loop", "no loop", "inside"]
)


class Programs:
    """The interpreter with the programs of all routines. `inside`: as for hooks."""

    def __init__(self, has_loop: bool = True, inside: bool = False) -> None:
        self.world = Emulated(replace(calls_setting(has_loop), own_frames=inside))
        setting = self.world.setting
        unwinders = self.world.maps[script_frame.UNWINDERS]
        plain = [routine for _, _, routine in script_calls.routines()]
        unwinders.programs[0] = generate_unwinder(plain, TARGET, setting)  # type: ignore[attr-defined]
        self.codes = {}
        for number, (kind, function, routine) in enumerate(script_calls.routines()):
            code = generate_routine(routine, PLACE, TARGET, setting, PROBE, program=number)
            self.codes.setdefault((kind, function), []).append(code)
            unwinders.programs[1 + number] = code  # type: ignore[attr-defined]

    def run(self, kind: script_calls.Kind, function: int, registers: dict[str, int]) -> None:
        for code in self.codes[kind, function]:
            self.world.run(code, {**registers, "rip": 0x401000 + 16 * function})
            frames = self.world.maps[script_frame.FRAMES].values.values()
            assert not any(any(value[:8]) for value in frames), "a frame is held"


@KINDS
@pytest.mark.parametrize("seed", range(6))
def test_each_call_ends_once(seed: int, has_loop: bool, inside: bool) -> None:
    calls, programs = Calls(seed, Heap()), Programs(has_loop, inside)
    for _ in range(150):
        expected = calls.step(programs.run)
        assert sorted(map(Told.by, programs.world.events()), key=repr) == expected
        assert calls_open(programs.world.setting, programs.world.hash) == calls.open
    counts = programs.world.counts(PROBE)
    assert counts[Counter.STALE] == calls.stale
    assert counts[Counter.UNPAIRED] == 0
    assert counts[Counter.UNREADABLE] == counts[Counter.CALLS_FULL] == 0
    for thread in calls.threads:
        programs.run("goexit", 0, {**thread.goroutine.registers(), "rbx": thread.goid})
    for name in CALL_MAPS:
        assert programs.world.hash(name) == {}, name


@KINDS
def test_a_call_returns_from_inside_many_whose_ends_were_missed(has_loop: bool, inside: bool) -> None:
    """Without bpf_loop the programs go on by tail calls, of which the kernel allows few."""
    heap, programs = Heap(), Programs(has_loop, inside)
    goroutine, missed = Goroutine(heap, 100), 2 * MAX_TAIL_CALLS
    for depth in range(8, 24 + 8 * missed, 8):
        programs.run("enter", 0, {**goroutine.registers(depth), "rax": depth})
    programs.run("leave", 0, {**goroutine.registers(16), "rax": 0})
    programs.run("goexit", 0, {**goroutine.registers(8), "rbx": 100})
    told = [Told.by(data) for data in programs.world.events()]
    assert [(one.number, one.ended) for one in told] == [(16, Ended.RETURN), (8, Ended.GOEXIT)]
    assert programs.world.counts(PROBE)[Counter.STALE] == missed
    for name in CALL_MAPS:
        assert programs.world.hash(name) == {}, name
