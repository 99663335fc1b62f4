"""Which probes store into which maps, and which maps are cleared, wherever in a block that stands."""

from __future__ import annotations

from gotap.observe.tracing.feeding import cleared_maps, feeding_probes
from gotap.probe import ir
from gotap.probe.record import Layout
from gotap.probe.script.bound import BoundRoutine, BoundScript
from gotap.probe.script.routine import (
    Branch,
    ClearMap,
    Enter,
    Leave,
    Loop,
    Routine,
    Statement,
    Store,
    Tally,
    Unwind,
    Unwound,
    Watch,
)

ONE = ir.Const(1)
CALL = Layout("call", 3, ())


def script(*routines: tuple[int, Routine]) -> BoundScript:
    return BoundScript([BoundRoutine(f"probe {number}", number, one) for number, one in routines], [], {}, {}, [])


def tally(map: int) -> Statement:
    return Tally(map, (), ONE, False)


def test_blocks_within_blocks() -> None:
    inner = Loop(0, ONE, ONE, (ClearMap(5), Branch(ONE, (tally(0),), (Store(1, (), ONE),))))
    bound = script((1, Watch(CALL, (), (Branch(ONE, (), (inner,)),))), (2, Watch(CALL, (), (tally(1), ClearMap(1)))))
    assert feeding_probes(bound) == {0: {1}, 1: {1, 2}}
    assert cleared_maps(bound) == {1, 5}


def test_ends_of_calls_are_of_the_probe_that_follows_them() -> None:
    unwound = Unwind(ONE, None, "goexit", (Unwound(CALL, (), (tally(2),)),))
    bound = script((0, unwound), (4, Enter(CALL, ())), (4, Leave(CALL, (), (tally(0),))))
    assert feeding_probes(bound) == {0: {4}, 2: {4}}
