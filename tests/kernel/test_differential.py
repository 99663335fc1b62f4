"""The same programs in the kernel and in the interpreter, over the same memory: events, maps and counters agree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import script_routines as world
from gotap.kernel.codegen import script_frame
from gotap.kernel.codegen.script import generate_routine
from kernel_access import needs_bpf
from script_kernel import Heap, KernelScript, Stubs
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
