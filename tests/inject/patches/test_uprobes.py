"""Real uprobes: on the nops of springboards, and on code in which jumps stand, put there by others before or after."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hooking
from gotap.bpf.asm import R0, R1, R2, R6, R7, R10, Assembler, Helper
from gotap.image.code.jumps import JumpSite
from gotap.inject.patches.applying import FOREIGN, missing
from gotap.inject.patches.leftovers import remove
from gotap.kernel import features
from gotap.kernel.attach import Link, attach_type, attach_uprobes
from gotap.kernel.bpf import Map, MapType, Program
from gotap.process.memory import Memory
from gotap.process.proc import Process
from hooking import Sites, put_hooks, put_springboards
from kernel_access import needs_bpf
from torture_program import FUNCTIONS, Torture, executable, torture

pytestmark = [pytest.mark.root, needs_bpf]

ROUNDS = 2000


class Counting:
    """A program that counts its hits by attach cookie."""

    def __init__(self) -> None:
        self.counts = Map.create(MapType.ARRAY, 4, 8, 64)
        asm = Assembler()
        asm.mov(R6, R1)
        asm.call(Helper.GET_ATTACH_COOKIE)
        asm.store(R10, -4, R0, 4)
        asm.ld_map(R1, "counts")
        asm.mov(R2, R10)
        asm.add(R2, -4)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "out")
        asm.mov(R7, 1)
        asm.atomic_add(R0, 0, R7)
        asm.label("out")
        asm.mov(R0, 0)
        asm.exit_()
        code = asm.finish().bytes({"counts": self.counts.fd})
        self.program = Program.load(code, name="counting", attach_type=attach_type(features.essential()))

    def attach(self, path: str, sites: list[tuple[int, int]], pid: int) -> Link:
        return attach_uprobes(self.program, path, sites, pid=pid, features=features.essential())

    def hits(self) -> list[int]:
        return [int.from_bytes(value, "little") for _, value in sorted(self.counts.items())]


@pytest.fixture
def counting() -> Iterator[Counting]:
    made = Counting()
    yield made
    made.program.close()
    made.counts.close()


@pytest.fixture(scope="module")
def sites() -> Sites:
    return Sites(executable()).find(FUNCTIONS, returns=False)


@pytest.fixture
def target() -> Iterator[Torture]:
    with torture() as running:
        yield running


def entries(sites: Sites) -> list[tuple[str, JumpSite]]:
    return [(name, site) for name, site in sites.entries.items() if site.live]


def measured(target: Torture, counting: Counting) -> tuple[dict[str, int], list[int]]:
    """What the program knows of its calls, and what was counted."""
    target.order("load", 0)
    before = counting.hits()
    told = target.order("measure", ROUNDS, patience=120)
    return told, [now - then for now, then in zip(counting.hits(), before, strict=True)]


def test_springboards_are_exact_to_the_call(counting: Counting, sites: Sites, target: Torture) -> None:
    chosen = entries(sites)
    with hooking.closing(put_springboards(target.pid, sites, [site for _, site in chosen])) as put:
        places = [(put.nops[site.address], number) for number, (_, site) in enumerate(chosen)]
        with counting.attach(put.file.path, places, target.pid):
            assert put.apply().refused == ()
            told, hits = measured(target, counting)
            assert hits[: len(chosen)] == [told[name] for name, _ in chosen]
            target.order("load", 1)
        assert remove(target.pid).is_complete
    target.works()


@pytest.mark.parametrize("put", [put_springboards, put_hooks], ids=["springboard", "hook"])
def test_a_uprobe_where_a_jump_is_already(counting: Counting, sites: Sites, target: Torture, put: object) -> None:
    """At the first instruction of functions, where other tools put theirs: the kernel runs what the file has there."""
    assert callable(put)
    chosen = entries(sites)
    with (
        hooking.closing(put(target.pid, sites, [site for _, site in chosen])) as made,
        Process(target.pid) as process,
        Memory(process) as memory,
    ):
        made.apply()
        assert missing(made.patches.values(), memory.read) == []
        places = []
        for number, (name, _) in enumerate(chosen):
            function = next(one for one in sites.image.pclntab.functions() if one.name == name)
            offset = sites.image.elf.offset_of(function.address)
            assert offset is not None
            places.append((offset, number))
        with foreign(counting, target, places):
            told, hits = measured(target, counting)
            assert all(hit >= told[name] for hit, (name, _) in zip(hits, chosen, strict=False))
            target.order("load", 1)
            target.works()
        lost = missing(made.patches.values(), memory.read)
        functions = {one.address for one in sites.image.pclntab.functions()}
        bias = hooking.bias_of(target.pid, sites.image)
        assert {one.address for one in lost} == {
            one.address for one in made.patches.values() if one.address - bias in functions
        }
        assert all(len(one.new) == 1 for one in lost)
        assert remove(target.pid).is_complete
    target.works()


def foreign(counting: Counting, target: Torture, places: list[tuple[int, int]]) -> Link:
    """As a tool attaches that does not look at the code."""
    from gotap.kernel import attach

    return attach._attach_multi(counting.program, f"/proc/{target.pid}/exe", places, target.pid, False)


def test_a_jump_where_a_uprobe_is_already(counting: Counting, sites: Sites, target: Torture) -> None:
    chosen = [site for _, site in entries(sites)]
    offsets = [(sites.image.elf.offset_of(site.start) or 0, 0) for site in chosen[:2]]
    with hooking.closing(put_hooks(target.pid, sites, chosen)) as put:
        with counting.attach(f"/proc/{target.pid}/exe", offsets, target.pid):
            outcome = put.apply()
            assert [one.reason for one in outcome.refused] == [FOREIGN] * 2
            assert len(outcome.done) == len(chosen) - 2
            target.works()
            assert remove(target.pid).is_complete, "the kernel's breakpoints stand on the program's own code"
        assert remove(target.pid).is_complete
    target.works()
