"""Stacks taken in running Go programs, against those that the runtime's own unwinder sees from the same place."""

from __future__ import annotations

import pytest

from go_stacks import MOST, Prober, Told, compared, taken
from gobuild import build, every_version
from gotap.probe.functions.pattern import without_arguments
from gotap.signals.stacks import StackFrames
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]


def stacks(prober: Prober, addresses: list[list[int]]) -> list[list[Told]]:
    known = StackFrames(prober.image.pclntab)
    return [
        [(without_arguments(frame.function), frame.file, frame.line) for frame in known.stack(stack)]
        for stack in addresses
    ]


def check(prober: Prober, found: list[list[Told]], expected: list[list[Told]]) -> None:
    """The program tells from within `probe`, the stack was taken at its entry: the line there differs."""
    assert len(found) == len(expected)
    for mine, its in zip(found, expected, strict=True):
        assert mine[0][0] == its[0][0] == "main.probe"
        assert mine[1:] == compared(its)[1:][: len(mine) - 1]
        assert mine[-1][0] == "runtime.goexit" or len(mine) >= MOST


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", ["plain", "pie_stripped"])
def test_stacks_are_those_of_the_runtime(go: str, mode: str) -> None:
    prober = Prober(build("stacks", go, mode=mode))
    addresses, expected = taken(prober, "main.probe")
    check(prober, stacks(prober, addresses), expected)


@pytest.mark.parametrize("go", every_version())
def test_stacks_go_on_where_c_was_called(go: str) -> None:
    prober = Prober(build("stackscgo", go, mode="external"))
    assert prober.words is not None
    assert prober.words.callback is not None
    addresses, expected = taken(prober, "main.probe")
    check(prober, stacks(prober, addresses), expected)


def of(function: str, stacks: list[list[Told]]) -> list[list[str]]:
    """The functions of the stacks that lead to it, up to it and from it on."""
    named = [[frame[0] for frame in stack] for stack in stacks]
    return [names for names in named if function in names]


@pytest.mark.parametrize("go", every_version())
def test_stacks_go_on_behind_the_runtimes_own(go: str) -> None:
    """Goroutines are created by systemstack, and parked by mcall: both run on the thread's own stack."""
    prober = Prober(build("stacks", go))
    addresses, expected = taken(prober, "runtime.newproc.func1")
    (created,), (by,) = of("main.start", stacks(prober, addresses)), of("main.start", expected)
    assert created[:4] == ["runtime.newproc.func1", "runtime.systemstack", "runtime.newproc", "main.start"]
    assert created[3:] == by[1:]
    addresses, expected = taken(prober, "runtime.park_m")
    parked, (blocked,) = of("main.block", stacks(prober, addresses)), of("main.block", expected)
    for names in parked:
        assert names[:3] == ["runtime.park_m", "runtime.mcall", "runtime.gopark"]
        assert names[names.index("main.block") :] == blocked[1:]


@pytest.mark.parametrize("go", every_version())
def test_stacks_that_grow(go: str) -> None:
    """In the prologue of a function, which has no frame yet."""
    prober = Prober(build("stacks", go))
    addresses, expected = taken(prober, "runtime.copystack")
    (grown,), (by,) = of("main.growing", stacks(prober, addresses)), of("main.growing", expected)
    assert grown[:4] == ["runtime.copystack", "runtime.newstack", "runtime.morestack", "main.large"]
    assert grown[3:] == by[1:]


def test_stacks_of_goroutines_ask_nothing_of_the_runtime() -> None:
    prober = Prober(build("stacks"))
    addresses, expected = taken(prober, "main.probe", words=False)
    check(prober, stacks(prober, addresses), expected)


def test_walks_without_bpf_loop() -> None:
    for program in ("stacks", "stackscgo"):
        prober = Prober(build(program))
        addresses, expected = taken(prober, "main.probe", has_loop=False)
        check(prober, stacks(prober, addresses), expected)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("has_loop", [True, False])
def test_no_more_frames_than_asked_for(frames: int, has_loop: bool) -> None:
    prober = Prober(build("stacks"))
    addresses, expected = taken(prober, "main.probe", frames, has_loop=has_loop)
    assert {len(stack) for stack in addresses} == {frames}
    plain = [[frame[0] for frame in stack] for stack in stacks(prober, addresses)]
    for mine, its in zip(plain, expected, strict=True):
        assert mine == [frame[0] for frame in its[: len(mine)]]


def test_the_kernels_own_walk() -> None:
    """As taken at system calls, where the registers are not at hand."""
    prober = Prober(build("stacks"))
    addresses, expected = taken(prober, "main.recursive", registers=False)
    assert len(addresses) > 200
    assert [frame[0] for frame in stacks(prober, addresses)[0]][-4:] == [frame[0] for frame in expected[0][-4:]]
