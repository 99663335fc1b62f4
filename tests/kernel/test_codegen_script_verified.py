"""The kernel's verifier accepts what is generated for scripts: every routine, word and statement, also without the
features that older kernels lack.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from msgspec.structs import replace

import script_calls
from codegen_samples import ARGUMENT, BUCKETS, SWISS, load, text
from compiled import has_private_stack
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.routines import generate_routine, generate_unwinder
from gotap.bpf.codegen.script.setting import ScriptSetting, ValueSetting
from gotap.bpf.codegen.target import Place, Target
from gotap.bpf.enums import MapFlags, MapType, ProgramType
from gotap.bpf.isa import STACK_SIZE
from gotap.image.code import Edge, Register, Stack
from gotap.kernel.bpf import Map, Program, possible_cpus
from gotap.kernel.features import scripting
from gotap.kernel.machine import KernelMachine
from gotap.observe.scriptmaps import ScriptMaps
from gotap.observe.shape_maps import shape_maps
from gotap.observe.tracing.maps import WorkMaps
from gotap.probe import ir
from gotap.probe.record import Column, ColumnKind, Layout
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind
from gotap.probe.script.limits import Limits
from gotap.probe.script.routine import (
    Branch,
    CaptureStack,
    CaptureValue,
    ClearMap,
    Emit,
    Enter,
    Forget,
    Leave,
    Loop,
    Remove,
    Routine,
    SetLocal,
    SetOwn,
    Statement,
    Store,
    Tally,
    Unwind,
    Unwound,
    Watch,
)
from gotap.probe.script.stackwords import StackWords
from gotap.probe.shapes import Dynamic
from gotap.probe.shapes_table import HEAD, POINTER
from kernel_access import needs_bpf
from kernel_maps import fds
from stack_depths import deepest

pytestmark = [pytest.mark.root, needs_bpf]

NUMBER = Column("number", ColumnKind.INT, 0)
NAME = Column("name", ColumnKind.TEXT, 1, 256)
VALUE = Column("value", ColumnKind.VALUE, 2)
STACK = Column("stack", ColumnKind.STACK, 3)
KIND = Column("kind", ColumnKind.TYPE, 4)
LAYOUT = Layout("all", 1, (NUMBER, NAME, VALUE, STACK, KIND))
WORD, TEXT = Part(PartKind.UINT), Part(PartKind.TEXT, 136)
MAPS = (
    MapSpec(0, "@values", MapKind.VALUE, (WORD, TEXT), Part(PartKind.INT)),
    MapSpec(1, "@texts", MapKind.VALUE, (WORD,), TEXT),
    MapSpec(2, "@stats", MapKind.STATS, (Part(PartKind.STACK, 8 * 32),), Part(PartKind.DURATION)),
    MapSpec(3, "@hist", MapKind.HIST, (), Part(PartKind.INT), Part(PartKind.INT)),
)
#: The verifier gives up after a million; a program of this many loads in a few milliseconds.
MOST_WALKED = 200_000

TARGET = Target(1, 4242, 4242, 0x555500000000, load(ir.Goroutine(), 152), load(ir.Goroutine(), 8))
PLACE = Place({ARGUMENT: Register("rdi"), script_calls.TEXT: Stack(24)}, Edge(6, False), 8)
SETTING = ScriptSetting(
    frame_size=18000,
    locals=8,
    own=4,
    own_texts=frozenset({1}),
    maps=MAPS,
    filtered=frozenset({1}),
    keeping={1: 18000, 2: 200},
    cpus=possible_cpus(),
    stack_words=StackWords(8, 48, 56, 64, 104, 0, 184, (0x1000, 0x1100), 8, (0x3000, 0x3100), (0x2000, 0x2100)),
    values=ValueSetting(Limits(), ((0x400000, 0x500000),), 0x400000, 100),
    unwinder=True,
    thinning=True,
    traces=True,
    pid_namespace=(4, 0xF0000000),
)


def capture(column: Column, *values: ir.Word | ir.AnyText) -> ir.Capture:
    return ir.Capture(column, tuple(ir.Alternative((), value) for value in values))


def header(layout: ir.SwissLayout | ir.BucketLayout, base: ir.Word) -> ir.Text:
    first = load(ir.MapElement(base, layout, b"Key"))
    return ir.Text(load(first), load(first, 8))


CAUSE = ir.Unwrapped(load(ARGUMENT), load(ARGUMENT, 8), ((0x100, 0), (0x200, 16)), 0)
WORDS: tuple[ir.Word, ...] = (
    *(ir.Arithmetic(operator, load(ARGUMENT), load(ARGUMENT, 8, 4, True), signed)  # type: ignore[arg-type]
      for operator in ("*", "/", "%", "&", "|", "^", "<<", ">>") for signed in (False, True)),
    *(ir.Ambient(what) for what in ("pid", "tid", "cpu", "nsecs", "site", "caller", "ip", "sp", "ended", "latency")),  # type: ignore[arg-type]
    ir.Own(0), ir.Local(0), ir.Stored(0, (ir.Const(1), text(ARGUMENT))), ir.Stored(2, (ir.Stack(32),), sum=True),
    ir.Linear(ir.Local(1), -10, 10, 3), ir.LogLinear(load(ARGUMENT), 5, signed=True), ir.Log2(ir.Ambient("nsecs")),
    ir.TextsEqual(text(ARGUMENT), ir.OwnText(1)), ir.TextsEqual(text(ARGUMENT, 16), text(ARGUMENT, 32)),
    ir.TextEquals(text(ARGUMENT), b"x" * 300), ir.TraceWord("traceid", 1), ir.TraceWord("spanid"),
    ir.Field(8, 4, signed=True), load(ir.MapElement(ir.Local(0), SWISS, b"Key")),
)  # fmt: skip
TEXTS: tuple[ir.AnyText, ...] = (
    text(ARGUMENT), ir.ConstText(b"constant"), ir.AmbientText("comm"), ir.OwnText(1), ir.StoredText(1, (ir.Const(7),)),
    ir.CText(load(ARGUMENT), 100), header(SWISS, ARGUMENT), header(BUCKETS, load(ARGUMENT, 8)),
    ir.Chosen((ir.Alternative((ir.Own(0),), text(ARGUMENT)), ir.Alternative((), ir.OwnText(1)))),
)  # fmt: skip
WHOLE = CaptureValue(VALUE, 1, 64, address=load(ARGUMENT, 24))
PARTS = CaptureValue(VALUE, 2, 24, parts=((0, 8, ARGUMENT), (8, 8, load(ARGUMENT)), (16, 4, ir.Const(7))))
LATER = Emit(1, (capture(NUMBER, ir.Ambient("latency")),), (PARTS,), (CaptureStack(STACK, ir.Stack(64)),))
EMITS = (
    Emit(0, (capture(NUMBER, ir.Const(1)), capture(NAME, *TEXTS[:2]), capture(KIND, CAUSE)), (WHOLE,)),
    Emit(2, wake=True, epoch_of=2),
)
STATEMENTS: tuple[Statement, ...] = (
    SetOwn(0, load(ARGUMENT), add=True), SetOwn(1, text(ARGUMENT)),
    Store(0, (ir.Const(1), ir.AmbientText("comm")), ir.Own(0), add=True), Store(1, (load(ARGUMENT),), ir.OwnText(1)),
    Tally(2, (ir.Stack(32),), ir.Ambient("nsecs"), signed=True), Tally(3, (ir.Log2(ARGUMENT),), ARGUMENT, signed=True),
    Remove(0, (ir.Own(0), text(ARGUMENT))), ClearMap(1),
    Branch(ir.TextsEqual(text(ARGUMENT), ir.AmbientText("comm")), (Emit(3),), (SetLocal(3, ir.Const(4)),)),
)  # fmt: skip
CAPTURES = (capture(NUMBER, ARGUMENT), capture(NAME, text(ARGUMENT)))


def routines() -> dict[str, Routine]:
    made: dict[str, Routine] = {f"{type(one).__name__} {index}": Watch(LAYOUT, (), (SetLocal(2, one),))
                                for index, one in enumerate(WORDS)}  # fmt: skip
    made |= {f"{type(one).__name__} {index}": Watch(LAYOUT, (), (Emit(0, (capture(NAME, one),)),))
             for index, one in enumerate(TEXTS)}  # fmt: skip
    made |= {f"emit {index}": Watch(LAYOUT, (load(ARGUMENT),), (one,)) for index, one in enumerate(EMITS)}
    made["statements"] = Watch(LAYOUT, (ir.TextEquals(text(ARGUMENT), b"GET"),), STATEMENTS)
    short = (Tally(3, (ir.Local(0),), ir.Const(1), signed=True), Emit(3, (capture(NUMBER, ir.Local(0)),)))
    made["loop"] = Watch(LAYOUT, (), (Loop(0, ir.Const(0), load(ARGUMENT), short),))
    made["enter"] = Enter(LAYOUT, (ARGUMENT,), CAPTURES, (WHOLE,), (CaptureStack(STACK, ir.Stack(16)),))
    made["enter plain"] = Enter(LAYOUT, ())
    same = ir.TextsEqual(ir.KeptText(NAME), ir.OwnText(1))
    made["leave"] = Leave(LAYOUT, (same, ir.Kept(NUMBER)), (LATER, *STATEMENTS))
    made["unwind"] = Unwind(load(ARGUMENT), load(ARGUMENT, 8), "panic", UNWOUND)
    made["unwind all"] = Unwind(load(ARGUMENT), None, "goexit", UNWOUND)
    made["forget"] = Forget(load(ARGUMENT, 152))
    return made


UNWOUND = (
    Unwound(LAYOUT, (ir.Kept(NUMBER),), (Emit(1), *STATEMENTS[:4])),
    *(Unwound(Layout("other", number, ()), (), (Emit(1),)) for number in range(2, 40)),
)
#: With bpf_loop only: loops that are too long to be walked through.
LONG: dict[str, Routine] = {
    "loop of all": Watch(LAYOUT, (), (Loop(0, ir.Const(0), ir.Const(99), (*STATEMENTS, *EMITS, LATER)),)),
    "loops in loops": Watch(LAYOUT, (), (Loop(0, ir.Const(0), ir.Const(9), (Loop(1, ir.Local(0), ir.Const(9), (
        Loop(2, ir.Local(1), ir.Const(9), (Emit(0, (capture(NAME, header(SWISS, ir.Local(2))),)),)),)),)),)),
}  # fmt: skip


@pytest.fixture(scope="module")
def descriptors() -> Iterator[dict[str, int]]:
    machine = KernelMachine(scripting())
    lazily = MapFlags.NO_PREALLOC
    more = {
        frame.ROWS: Map.create(MapType.HASH, frame.ROW_KEY_SIZE, frame.ROW_SIZE, 64, lazily),
        frame.SCOPES: Map.create(MapType.HASH, frame.SCOPE_KEY_SIZE, frame.SCOPE_SIZE, 64, lazily),
        frame.LINKS: Map.create(MapType.LRU_HASH, frame.SCOPE_KEY_SIZE, frame.LINK_SIZE, 64),
        **shape_maps(machine, (np.zeros(3, HEAD), np.zeros(4, POINTER)), Dynamic(0x400000, np.zeros(100, np.uint32))),
    }
    work, maps = WorkMaps(machine, SETTING, 4, 8, grows=True), ScriptMaps(machine, MAPS, grows=True)
    yield fds({**more, **work.by_name(ProgramType.KPROBE), **maps.by_name})
    for one in (*more.values(), work, maps):
        one.close()


def test_old_kernels_find_the_stack_deep_enough() -> None:
    for name, routine in (routines() | LONG).items():
        for has_loop in (True, False):
            if has_loop or name not in LONG:
                code = generate_routine(routine, PLACE, TARGET, replace(SETTING, has_loop=has_loop), 0)
                assert deepest(code) <= STACK_SIZE, (name, has_loop)


def walked(routine: Routine, setting: ScriptSetting, descriptors: dict[str, int]) -> int:
    code = generate_routine(routine, PLACE, TARGET, setting, 0, None if setting.has_cookie else 9, program=3)
    with Program.load(code.bytes(descriptors), subprograms=code.subprograms) as program:
        if setting.has_loop:
            assert not has_private_stack(program)
        return program.instruction_counts()[1]


@pytest.mark.parametrize("name", [name for name in routines() if not name.startswith("Field")])
@pytest.mark.parametrize("has_loop", [True, False], ids=["loop", "no loop"])
def test_the_verifier_accepts(name: str, has_loop: bool, descriptors: dict[str, int]) -> None:
    assert walked(routines()[name], replace(SETTING, has_loop=has_loop), descriptors) < MOST_WALKED


@pytest.mark.parametrize("name", list(LONG))
def test_the_verifier_accepts_loops_of_anything(name: str, descriptors: dict[str, int]) -> None:
    assert walked(LONG[name], SETTING, descriptors) < MOST_WALKED


@pytest.mark.parametrize("name", ["statements", "enter", "leave", "unwind"])
def test_the_verifier_accepts_the_least(name: str, descriptors: dict[str, int]) -> None:
    """A kernel without what scripts can do without, and nothing asked for that costs."""
    least = replace(SETTING, has_loop=False, has_cookie=False, unwinder=False, thinning=False, traces=False,
                    stack_words=None, pid_namespace=None)  # fmt: skip
    assert walked(routines()[name], least, descriptors) < MOST_WALKED


@pytest.mark.parametrize("has_loop", [True, False], ids=["loop", "no loop"])
def test_the_verifier_accepts_the_unwinder(has_loop: bool, descriptors: dict[str, int]) -> None:
    code = generate_unwinder(routines().values(), TARGET, replace(SETTING, has_loop=has_loop))
    assert code is not None
    Program.load(code.bytes(descriptors), subprograms=code.subprograms).close()


def test_scripts_without_calls_need_no_unwinder() -> None:
    assert generate_unwinder([Watch(LAYOUT, (), ())], TARGET, SETTING) is None


@pytest.mark.parametrize("kind", [ProgramType.TRACEPOINT, ProgramType.RAW_TRACEPOINT, ProgramType.PERF_EVENT])
def test_the_verifier_accepts_programs_elsewhere(kind: ProgramType, descriptors: dict[str, int]) -> None:
    """At tracepoints, on demand, at samples: no goroutine, no registers but a sample's."""
    registers = kind is ProgramType.PERF_EVENT
    body: tuple[Statement, ...] = (
        SetLocal(0, ir.Field(8, 8, signed=False)), *STATEMENTS[:2], Emit(0, (capture(NUMBER, ir.Ambient("cpu")),)),
        Loop(1, ir.Const(0), ir.Const(5), (Store(1, (ir.Local(1),), ir.AmbientText("comm")),)),
    )  # fmt: skip
    if kind is ProgramType.TRACEPOINT:
        body += (Emit(1, (capture(NAME, ir.RecordText(24, 16, False), ir.RecordText(16, 4, True)),)),)
    nobody = Target(1, 0, None, 0, None, None)
    code = generate_routine(Watch(LAYOUT, (), body), Place({}, None, 0), nobody, SETTING, 0, 3, registers=registers)
    none = Map.create(MapType.PROG_ARRAY, 4, 4, 1)
    with none, Program.load(code.bytes({**descriptors, script_frame.NO_PROGRAMS: none.fd}), kind,
                            subprograms=code.subprograms) as program:  # fmt: skip
        assert program.instruction_counts()[1] < MOST_WALKED
