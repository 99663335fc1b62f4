"""What gotap makes for real Go binaries, shipped catalogues and scripts, in machine code: all of it can be translated,
and what comes out is whole instructions whose branches lead to instructions or to helpers.

That they compute the right things is test_generated's and the torture's to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from iced_x86 import Code as X86Code
from iced_x86 import Decoder, FlowControl, OpKind

from collected import CollectingMachine
from gobuild import build
from gotap.bpf.codegen.tracing import Sampling
from gotap.bpf.isa import Helper
from gotap.bpf.machine import Executable, Source
from gotap.image.image import Image
from gotap.inject.x86.translator import MapPlace, helpers_used, stack_size, translate
from gotap.observe.tracing.tracer import Tracer
from gotap.observe.watch import Watcher
from gotap.probe.binding import bind
from gotap.probe.catalogue import libraries, runtime
from gotap.probe.script.binding.binder import bind_script
from gotap.probe.script.language.parser import parse_script
from gotap.probe.sources import types_of
from kernel_plans import SCRIPTS

CODE = 0x7F2000000000
HELPERS = {helper: CODE + 0x100000 + 0x100 * helper for helper in Helper}
SELF = Executable(1, 1, "/proc/self/exe", 0)


def places(source: Source) -> dict[str, MapPlace]:
    """Somewhere for each map."""
    return {
        name: MapPlace(CODE + 0x1000000 + 64 * number, CODE + 0x2000000 + 0x100000 * number, one.kind, one.max_entries,
                       (one.value_size + 7) // 8 * 8)
        for number, (name, one) in enumerate(source.maps.items())
    }  # fmt: skip


def check(sources: Sequence[Source]) -> None:
    assert sources
    for source in sources:
        helpers = {helper: HELPERS[helper] for helper in helpers_used(source.code)}
        code = translate(source.code, CODE, places(source), helpers)
        instructions = list(Decoder(64, code, ip=CODE))
        starts = {one.ip for one in instructions}
        assert all(one.code != X86Code.INVALID for one in instructions)
        assert sum(one.len for one in instructions) == len(code)
        assert instructions[-1].flow_control == FlowControl.RETURN
        for one in instructions:
            if one.op_count and one.op0_kind == OpKind.NEAR_BRANCH64:
                assert one.near_branch_target in starts or one.near_branch_target in helpers.values()
        assert len(code) < 8 * len(source.code) + 200
        assert stack_size(source.code) < 4096


def test_the_catalogue_on_a_server() -> None:
    machine = CollectingMachine()
    image = Image.open(build("httpserver"))
    watcher = Watcher(machine, Sampling())
    watcher.attach(SELF, bind(image, types_of(image, runtime()), libraries(), runtime()))
    check(machine.sources)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name: str) -> None:
    machine = CollectingMachine()
    tracer = Tracer(machine, bind_script(parse_script(SCRIPTS[name]), Image.open(build("kernelguest"))))
    tracer.load(SELF)
    check(machine.sources)


@pytest.mark.parametrize(
    ("script", "timed", "told"),
    [
        ("main.hot { @ = sum(args.n) }", False, False),
        ("main.hot { @[err != nil] = count() }", False, False),
        ("main.hot / latency > 1ms / { @ = count() }", True, False),
        ("main.hot { if args.n > 3 { @ = hist(latency) } }", True, False),
        ('main.hot:entry { printf("%d", args.n) }', True, True),
        ("main.hot", True, True),
        ("main.hot { @ = count(); if args.n > 9 { stop } }", True, True),
    ],
)
def test_programs_look_at_the_clock_only_if_somebody_asks(script: str, timed: bool, told: bool) -> None:
    machine = CollectingMachine(own_frames=True)
    tracer = Tracer(machine, bind_script(parse_script(script), Image.open(build("kernelguest"))))
    tracer.load(SELF)
    check(machine.sources)
    assert (tracer.setting.timed, tracer.setting.told) == (timed, told)
    used = {helper for source in machine.sources for helper in helpers_used(source.code)}
    assert (Helper.KTIME_GET_NS in used, Helper.GET_SMP_PROCESSOR_ID in used) == (timed, told)
    other = Tracer(CollectingMachine(), bind_script(parse_script(script), Image.open(build("kernelguest"))))
    assert (other.setting.timed, other.setting.told) == (timed, told)
