"""Trials of what only scripts (`gotap trace`) can make use of."""

from __future__ import annotations

from collections.abc import Iterator

from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R10, Assembler, Code, Helper
from gotap.bpf.enums import MapFlags, MapType, ProgramType
from gotap.kernel.bpf import Map, Program
from gotap.kernel.errors import KernelError, VerifierError, errno_text
from gotap.kernel.findings import Feature
from gotap.kernel.trials import UNTRIED, Bench


def percpu_lookup(bench: Bench) -> Iterator[Feature]:
    """Another CPU's value of a per-CPU map: what an aggregating map holds so far."""
    id_, name = "percpu_lookup", "reading per-CPU maps in programs"
    remedy = "use Linux 5.19 or newer; without it a script cannot use what an aggregating map holds"
    if bench.counter is None:
        yield Feature(id_, name, False, UNTRIED, tried=False)
        return
    try:
        with Map.create(MapType.PERCPU_ARRAY, 4, 8, 1, name="gotap_probe") as percpu:
            Program.load(_looking_up().bytes({"percpu": percpu.fd}), name="gotap_probe").close()
    except KernelError as error:
        yield Feature(id_, name, False, _reason(error), remedy)
    else:
        yield Feature(id_, name, True, "works")


def on_demand(bench: Bench) -> Iterator[Feature]:
    """Programs that are attached to nothing, run by BPF_PROG_TEST_RUN: `begin`, `end`, `interval`."""
    id_, name = "on_demand", "running programs on demand"
    remedy = "use Linux 5.10 or newer; begin, end and interval do not work without it"
    if bench.counter is None:
        yield Feature(id_, name, False, UNTRIED, tried=False)
        return
    asm = Assembler()
    asm.mov(R0, 0)
    asm.exit_()
    try:
        bench.load(asm.finish(), ProgramType.RAW_TRACEPOINT).test_run()
    except KernelError as error:
        yield Feature(id_, name, False, _reason(error), remedy)
    except OSError as error:
        yield Feature(id_, name, False, errno_text(error.errno or 0), remedy)
    else:
        yield Feature(id_, name, True, "works")


def clock_growing(bench: Bench) -> Iterator[Feature]:
    """Hash maps that grow, in programs of clock events (`profile`), whose samples may come in the midst of anything."""
    id_, name = "clock_growing", "hash maps that grow, in samples"
    remedy = "maps of scripts with `profile` take their full memory from the start without it"
    if bench.counter is None:
        yield Feature(id_, name, False, UNTRIED, tried=False)
        return
    try:
        with Map.create(MapType.HASH, 8, 8, 64, MapFlags.NO_PREALLOC, "gotap_probe") as growing:
            code = _storing().bytes({"growing": growing.fd})
            Program.load(code, ProgramType.PERF_EVENT, "gotap_probe").close()
    except KernelError as error:
        yield Feature(id_, name, False, _reason(error), remedy)
    else:
        yield Feature(id_, name, True, "may be used in samples")


def _looking_up() -> Code:
    asm = Assembler()
    asm.store(R10, -8, 0)
    asm.ld_map(R1, "percpu")
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.mov(R3, 0)
    asm.call(Helper.MAP_LOOKUP_PERCPU)
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()


def _storing() -> Code:
    asm = Assembler()
    asm.mov(R6, R1)
    asm.store(R10, -8, 0)
    asm.ld_map(R1, "growing")
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.mov(R3, R2)
    asm.mov(R4, 0)
    asm.call(Helper.MAP_UPDATE)
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()


def _reason(error: KernelError) -> str:
    return "the verifier refuses it" if isinstance(error, VerifierError) else str(error)
