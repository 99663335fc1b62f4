"""Stacks that a program on a uprobe takes in a running Go program, beside those that the program tells itself."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R7, Assembler, Code, Helper, Reg
from gotap.bpf.codegen.planner import Plan
from gotap.bpf.codegen.script.script_frame import FRAME_SCRATCH, FRAMES, ON_STACK, RING
from gotap.bpf.codegen.script.stacks import StackEmitter
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.enums import MapType
from gotap.image.image import Image
from gotap.kernel.attach import attach_type, attach_uprobes
from gotap.kernel.bpf import Map, Program
from gotap.kernel.features import essential
from gotap.kernel.ring import Ring
from gotap.probe.catalogue import runtime
from gotap.probe.places import BoundSite, Places
from gotap.probe.script.stackwords import StackWords, stack_words
from gotap.probe.sources import types_of
from gotap.process.proc import Process

MOST = 127
#: Function, file and line.
Told = tuple[str, str, int]


class Prober:
    """Where a function of the image begins, and programs that take stacks there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.image = Image.open(path)
        self.types = types_of(self.image, runtime())
        self.words = stack_words(self.image, self.types)

    def entry(self, function: str) -> BoundSite:
        places, found = Places(self.image, self.types), self.image.pclntab.find_all(function)[0]
        site = places.code(found).entry_site()
        assert site is not None
        return places.bound(site, {}, found)


def program(
    sp_offset: int | None,
    words: StackWords | None,
    bias: int,
    frames: int,
    *,
    registers: bool = True,
    has_loop: bool = True,
) -> Code:
    """Sends u64 number of frames, then the frames."""
    asm = Assembler()
    asm.mov(R6, R1)
    asm.ld_map_value(R7, FRAMES)
    asm.add(R7, FRAME_SCRATCH)
    emitter = WordEmitter(asm, {}, bias, Plan(), ON_STACK)

    def address(register: Reg) -> None:
        asm.mov(register, R7)
        asm.add(register, 8)

    stacks = StackEmitter(asm, emitter, words, sp_offset, registers=registers, has_loop=has_loop)
    stacks.capture(frames, address, "exit")
    asm.store(R7, 0, R0)
    asm.ld_map(R1, RING)
    asm.mov(R2, R7)
    asm.mov(R3, 8 + 8 * MOST)
    asm.mov(R4, 0)
    asm.call(Helper.RINGBUF_OUTPUT)
    if not registers:
        asm.label("exit")
    asm.mov(R0, 0)
    asm.exit_()
    stacks.subprograms()
    return asm.finish()


def load(code: Code, descriptors: dict[str, int]) -> Program:
    kind = attach_type(essential())
    return Program.load(code.bytes(descriptors), name="stacks", attach_type=kind, subprograms=code.subprograms)


@contextmanager
def started(path: Path) -> Iterator[subprocess.Popen[str]]:
    """The program, when it is ready."""
    child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def told(child: subprocess.Popen[str]) -> list[list[Told]]:
    """Lets the program run, and reads the stacks that it tells."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    stacks: list[list[Told]] = [[]]
    for line in child.stdout:
        if line == "done\n":
            return stacks[:-1]
        if line == "\n":
            stacks.append([])
            continue
        function, _, place = line.rstrip("\n").rpartition(" ")
        file, _, number = place.rpartition(":")
        stacks[-1].append((function, file, int(number)))
    raise AssertionError("the program has ended")


def taken(
    prober: Prober,
    function: str,
    frames: int = MOST,
    *,
    words: bool = True,
    registers: bool = True,
    has_loop: bool = True,
) -> tuple[list[list[int]], list[list[Told]]]:
    """(unrelocated addresses of the stacks that the probe took, stacks that the program told)."""
    features, site = essential(), prober.entry(function)
    with started(prober.path) as child:
        process = Process(child.pid)
        bias = process.load_bias(prober.image.elf.entry)
        known = prober.words if words else None
        code = program(site.site.sp_offset, known, bias, frames, registers=registers, has_loop=has_loop)
        with (
            Map.create(MapType.ARRAY, 4, FRAME_SCRATCH + 4096, 1) as scratch,
            Ring.create(1 << 20) as ring,
            load(code, {FRAMES: scratch.fd, RING: ring.fd}) as loaded,
            attach_uprobes(loaded, process.exe, [(site.file_offset, 0)], pid=child.pid, features=features),
        ):
            expected = told(child)
            records = [row.tobytes() for rows in ring.read() for row in rows]
    return [_addresses(record, bias) for record in records], expected


def _addresses(record: bytes, bias: int) -> list[int]:
    count, *addresses = struct.unpack_from(f"<{MOST + 1}Q", record)
    return [address - bias for address in addresses[:count]]


def compared(frames: Sequence[Told]) -> list[Told]:
    """Without what the runtime's own unwinding tells and frame pointers do not know: a mark for a change of stack."""
    return [frame for frame in frames if frame[0] != "runtime.systemstack_switch"]
