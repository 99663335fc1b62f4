"""The same programs in the kernel and in the interpreter, over the same memory: events, maps and counters agree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import script_calls
import script_routines as world
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.routines import generate_routine, generate_unwinder
from gotap.bpf.codegen.script.script_frame import Counter
from kernel_access import needs_bpf
from script_calls import CALL_MAPS, PLACE, PROBE, Calls, Told, calls_setting
from script_kernel import Heap, KernelScript, Stubs
from script_process import calls_open
from script_worlds import TARGET, Emulated, Goroutine, Real, agrees, fresh, normal, setting

pytestmark = [pytest.mark.root, needs_bpf]

_AT_ONCE = 12


@pytest.fixture(scope="module")
def stubs() -> Iterator[Stubs]:
    made = Stubs(_AT_ONCE)
    yield made
    made.close()


@pytest.mark.parametrize("has_loop", [True, False], ids=["loop", "no loop"])
@pytest.mark.parametrize("start", range(0, 3 * _AT_ONCE, _AT_ONCE))
def test_random_routines(start: int, has_loop: bool, stubs: Stubs) -> None:
    """Several routines share the script's state, so that what one leaves the next one finds."""
    heap = Heap()
    goroutine = Goroutine(heap)
    model, rng, pointer = fresh(heap, start)
    emulated = Emulated(setting(has_loop))
    with KernelScript(emulated.setting, stubs) as script:
        routines = [world.Maker(start + index, long_loops=has_loop).watch() for index in range(_AT_ONCE)]
        codes = [generate_routine(one, world.PLACE, TARGET, emulated.setting, 0) for one in routines]
        for index, code in enumerate(codes):
            script.attach(code, index, cookie=index)
        real = Real(script)
        for _ in range(3):
            for index, (routine, code) in enumerate(zip(routines, codes, strict=True)):
                registers, values = world.inputs(rng, pointer)
                registers = {**goroutine.registers(), **registers, "rip": stubs.address(index)}
                model.fire(routine, values)
                emulated.run(code, registers, cookie=index)
                stubs.fire(index, registers)
        sent = emulated.machine.ring
        assert [normal(one) for one in real.events()] == [normal(one) for one in sent]
        for spec in world.MAPS:
            assert real.entries(spec) == emulated.entries(spec), spec.name
        assert real.hash(script_frame.OWN) == emulated.hash(script_frame.OWN)
        assert real.counts() == emulated.counts()
        assert script.frames_held() == 0
        agrees(model, emulated)


@pytest.mark.parametrize("has_loop", [True, False], ids=["loop", "no loop"])
@pytest.mark.parametrize("seed", range(2))
def test_random_calls(seed: int, has_loop: bool, stubs: Stubs) -> None:
    """What the interpreter's test expects of calls is what the kernel does, tail calls included."""
    calls = Calls(seed, Heap())
    places: dict[tuple[str, int], int] = {}
    with KernelScript(calls_setting(has_loop), stubs) as script:
        routines = script_calls.routines()
        unwinder = generate_unwinder([routine for _, _, routine in routines], TARGET, script.setting)
        assert unwinder is not None
        script.work.set_unwinder(0, script.load(unwinder))
        for number, (kind, function, routine) in enumerate(routines):
            code = generate_routine(routine, PLACE, TARGET, script.setting, PROBE, program=number)
            place = places.setdefault((kind, function), len(places))
            script.attach(code, place, unwinders=1 + number)

        def run(kind: script_calls.Kind, function: int, registers: dict[str, int]) -> None:
            stubs.fire(places[kind, function], registers)

        real = Real(script)
        for _ in range(400):
            expected = calls.step(run)
            assert sorted(map(Told.by, real.events()), key=repr) == expected
            assert calls_open(script.setting, real.hash) == calls.open
        assert script.frames_held() == 0
        counts = real.counts(PROBE)
        assert counts[Counter.STALE] == calls.stale
        assert counts[Counter.UNPAIRED] == counts[Counter.CALLS_FULL] == 0
        for thread in calls.threads[1:]:
            run("goexit", 0, {**thread.goroutine.registers(), "rbx": thread.goid})
        assert len(real.hash(script_frame.HEADS)) == 1
        script.work.forget_calls()
        for name in CALL_MAPS:
            assert real.hash(name) == {}, name
