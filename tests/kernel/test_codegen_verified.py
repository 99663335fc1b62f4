"""The kernel's verifier accepts what is generated: every action, both kinds of maps, every kind of word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from codegen_samples import (
    ARGUMENT,
    BUCKETS,
    CONTEXT,
    CONTEXT_ARGUMENT,
    KIND,
    LAYOUT,
    PATH,
    QUERY,
    SPLIT,
    STATUS,
    SWISS,
    capture,
    header_text,
    load,
    text,
)
from compiled import has_private_stack, machine_code
from gotap.bpf.asm import R0, R10, Assembler, Code
from gotap.bpf.codegen import aggregation, frame
from gotap.bpf.codegen.program import Options, Place, Target, generate
from gotap.bpf.enums import MapFlags, MapType
from gotap.image.code import Edge, Location, Register, Stack
from gotap.kernel.bpf import Map, Program
from gotap.probe import ir
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]

TARGET = Target(1, 2, 2, 0x555500000000, load(ir.Goroutine(), 152), load(ir.Goroutine(), 8))
INPUTS: Mapping[ir.Input, Location] = {ARGUMENT: Register("rdi"), CONTEXT_ARGUMENT: Stack(24)}


@pytest.fixture(scope="module")
def maps() -> Iterator[dict[str, int]]:
    hash, lazily = MapType.HASH, MapFlags.NO_PREALLOC
    made = {
        frame.ROWS: Map.create(hash, frame.ROW_KEY_SIZE, frame.ROW_SIZE, 64, lazily),
        frame.SPILL: Map.create(hash, frame.ROW_KEY_SIZE, frame.RECORD_SIZE, 64, lazily),
        frame.SCOPES: Map.create(hash, frame.SCOPE_KEY_SIZE, frame.SCOPE_SIZE, 64, lazily),
        frame.LINKS: Map.create(MapType.LRU_HASH, frame.SCOPE_KEY_SIZE, frame.LINK_SIZE, 64),
        frame.COUNTERS_MAP: Map.create(MapType.PERCPU_ARRAY, 4, 8 * frame.COUNTER_COUNT, 1),
        frame.TEMPLATE: Map.create(MapType.ARRAY, 4, frame.ROW_SIZE, 1),
        frame.SPILL_TEMPLATE: Map.create(MapType.ARRAY, 4, frame.RECORD_SIZE, 1),
        frame.NO_PROGRAMS: Map.create(MapType.PROG_ARRAY, 4, 4, 1),
        frame.RING: Map.create(MapType.RINGBUF, 0, 0, 1 << 16),
        frame.AGGREGATES: Map.create(MapType.PERCPU_HASH, aggregation.KEY_SIZE, aggregation.VALUE_SIZE, 64),
    }
    yield {name: one.fd for name, one in made.items()}
    for one in made.values():
        one.close()


def actions() -> dict[str, ir.Action]:
    def begin(layout: ir.SwissLayout | ir.BucketLayout, key: ir.Word | None = None) -> ir.Begin:
        captures = (
            capture(CONTEXT, CONTEXT_ARGUMENT),
            capture(PATH, text(ARGUMENT)),
            ir.Capture(QUERY, (header_text(layout, b"User-Agent"), header_text(layout, b"X"))),
        )
        remote = ir.TraceParent((header_text(layout, b"Traceparent"),))
        walk = ir.ContextWalk(ir.Const(0), CONTEXT_ARGUMENT, ())
        return ir.Begin(LAYOUT, captures, remote, walk, CONTEXT_ARGUMENT, True, False, key)

    error = [ir.Unwrapped(load(ARGUMENT), load(ARGUMENT, 8), ((0x100, 0), (0x200, 16)), part) for part in (0, 1)]
    is_cause = ir.Compare("==", error[0], ir.StaticAddress(0x300), False)
    either = ir.Logic("||", is_cause, ir.TextEquals(text(ARGUMENT, 32), b"abc"))
    ends = (
        capture(KIND, error[0]),
        capture(STATUS, ir.Subtract(load(error[1]), ir.Const(1)), either),
        capture(PATH, text(ir.Kept(CONTEXT), 8)),
    )
    kept = ir.Kept(CONTEXT)
    return {
        "begin swiss": begin(SWISS),
        "begin split": begin(SPLIT),
        "begin buckets": begin(BUCKETS),
        "begin keyed": begin(SWISS, load(ARGUMENT, 40)),
        "begin by depth": ir.Begin(
            LAYOUT,
            (capture(CONTEXT, load(ARGUMENT)), capture(PATH, text(ARGUMENT, 8))),
            None,
            ir.ContextWalk(ir.Const(0), CONTEXT_ARGUMENT, ()),
            None,
            False,
            True,
            subject=load(ARGUMENT),
        ),
        "end": ir.End(LAYOUT, 1, True, ends, True, kept, False),
        "end by depth": ir.End(LAYOUT, 1, True, (), False, None, True),
        "end keyed": ir.End(LAYOUT, 1, True, ends, True, kept, False, load(ARGUMENT, 40)),
        "annotate": ir.Annotate(LAYOUT, (capture(STATUS, load(ARGUMENT, 8, 2, True)),)),
        "annotate keyed": ir.Annotate(LAYOUT, ends, True),
        "spawn": ir.Spawn(load(ARGUMENT, 152), (ir.Alternative((), load(ARGUMENT, 280)),)),
        "count": ir.Aggregate(1, "count", (ir.Log2(load(ARGUMENT)),), ir.Const(1)),
        "max": ir.Aggregate(2, "max", (load(ARGUMENT), CONTEXT_ARGUMENT), load(ARGUMENT, 8), (either,)),
        "sum of a map": ir.Aggregate(3, "sum", (), load(ir.MapElement(load(ARGUMENT), SWISS, b"k"), 8)),
    }


def deep_stack() -> Code:
    asm = Assembler()
    asm.store(R10, -256, 0)
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()


@pytest.mark.parametrize("name", list(actions()))
def test_a_preempted_programs_stack_is_its_threads_own(name: str, maps: dict[str, int]) -> None:
    """The next program on the same CPU would write into a private stack (Linux 6.13 and later)."""
    with Program.load(deep_stack().bytes({})) as plain:
        if not has_private_stack(plain):
            pytest.skip("this kernel has no private stacks, or does not show compiled programs")
    code = generate(actions()[name], Place(INPUTS, None, 8), TARGET, Options(), 0)
    with Program.load(code.bytes(maps), subprograms=code.subprograms) as program:
        assert machine_code(program)
        assert not has_private_stack(program)


@pytest.mark.parametrize("name", list(actions()))
@pytest.mark.parametrize("has_loop", [True, False], ids=["loop", "no loop"])
def test_the_verifier_accepts(name: str, has_loop: bool, maps: dict[str, int]) -> None:
    place = Place(INPUTS, Edge(6, False), 8)
    code = generate(actions()[name], place, TARGET, Options(has_loop=has_loop), 0)
    with Program.load(code.bytes(maps), subprograms=code.subprograms) as program:
        _, walked = program.instruction_counts()
        assert walked < 100_000
