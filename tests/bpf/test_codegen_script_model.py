"""Random routines in the BPF interpreter do what the model says they mean."""

from __future__ import annotations

import pytest

import script_routines as world
from gotap.bpf.codegen.script.routines import generate_routine
from script_kernel import Heap
from script_worlds import TARGET, Emulated, Goroutine, agrees, fresh, setting


@pytest.mark.parametrize("has_loop", [True, False], ids=["loop", "no loop"])
@pytest.mark.parametrize("seed", range(40))
def test_a_routine_does_what_it_means(seed: int, has_loop: bool) -> None:
    heap = Heap()
    goroutine = Goroutine(heap)
    model, rng, pointer = fresh(heap, seed)
    emulated = Emulated(setting(has_loop))
    routine = world.Maker(seed, long_loops=has_loop).watch()
    code = generate_routine(routine, world.PLACE, TARGET, emulated.setting, 0)
    for _ in range(3):
        registers, values = world.inputs(rng, pointer)
        model.fire(routine, values)
        emulated.run(code, {**goroutine.registers(), **registers})
    agrees(model, emulated)
