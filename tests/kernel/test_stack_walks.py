"""Walks of stacks in the interpreter: a made-up program with every change of stack, and memory that is not there."""

from __future__ import annotations

import struct

import pytest
from msgspec.structs import replace

from bpf_interpreter import ArrayMap, Machine, RingMap, UserMemory
from go_stacks import MOST, program
from gotap.bpf.codegen.script.script_frame import FRAME_SCRATCH, FRAMES, RING
from gotap.probe.script.stackwords import Callback, StackWords

BIAS = 0x555500000000
GOEXIT, SWITCH, MORESTACK, CALLBACK, CGOCALL = (BIAS + 0x1000 * number for number in range(1, 6))


def code(address: int) -> tuple[int, int]:
    return address - BIAS, address - BIAS + 0x100


CGO = Callback(*code(CALLBACK), 32, 8, *code(CGOCALL), 48)
KNOWN = StackWords(8, 48, 56, 64, 96, 0, 192, code(SWITCH), 8, code(MORESTACK), code(GOEXIT), CGO)
G, G0, M = 0xC000001000, 0xC000002000, 0xC000003000
#: Of the goroutine and of the thread, both grow downwards.
STACK, THREAD = 0xC000100000, 0x7FFF00000000
SIZE = 0x1000
PROBED, FIRST, SECOND = 0x555500100000, 0x555500200000, 0x555500300000
EVERY_LOOP = pytest.mark.parametrize("has_loop", [True, False])


class Process:
    """A goroutine's stack and a thread's, and what the runtime knows of both; words are put by address."""

    def __init__(self) -> None:
        self.memory = UserMemory({base - SIZE: bytes(SIZE) for base in (STACK, THREAD)})
        for g, high in ((G, STACK), (G0, THREAD)):
            self.memory.write(g, bytes(0x200))
            self.put(g + KNOWN.high, high)
            self.put(g + KNOWN.m, M)
        self.memory.write(M, bytes(0x200))
        self.put(M + KNOWN.g0, G0)
        self.put(M + KNOWN.curg, G)

    def put(self, address: int, *words: int) -> None:
        self.memory.write(address, struct.pack(f"<{len(words)}Q", *words))

    def saved(self, pc: int, sp: int, bp: int) -> None:
        for offset, value in ((KNOWN.pc, pc), (KNOWN.sp, sp), (KNOWN.bp, bp)):
            self.put(G + offset, value)

    def chain(self, *frames: tuple[int, int]) -> None:
        """(where the frame pointer is saved, return address above it), innermost first; the last one saves 0."""
        for index, (place, address) in enumerate(frames):
            self.put(place, frames[index + 1][0] if index + 1 < len(frames) else 0, address)

    def walk(
        self,
        sp: int,
        bp: int,
        *,
        g: int = G,
        sp_offset: int | None = 0,
        known: StackWords | None = KNOWN,
        frames: int = 20,
        has_loop: bool = True,
    ) -> list[int]:
        machine = Machine({FRAMES: ArrayMap(FRAME_SCRATCH + 4096, 1), RING: RingMap(1 << 16)}, self.memory)
        machine.run(
            program(sp_offset, known, BIAS, frames, has_loop=has_loop), {"rip": PROBED, "rsp": sp, "rbp": bp, "r14": g}
        )
        (record,) = machine.ring
        count, *addresses = struct.unpack_from(f"<{MOST + 1}Q", record)
        assert addresses[0] == PROBED
        return addresses[1:count]


def goroutine() -> Process:
    """A function that returns to FIRST, which returns to SECOND, which goexit called."""
    process = Process()
    process.put(STACK - 0x300, FIRST)
    process.chain((STACK - 0x200, SECOND), (STACK - 0x100, GOEXIT + 1))
    return process


WHOLE = [FIRST, SECOND, GOEXIT + 1]


@EVERY_LOOP
@pytest.mark.parametrize("known", [KNOWN, replace(KNOWN, callback=None), None])
def test_before_and_behind_the_prologue(has_loop: bool, known: StackWords | None) -> None:
    process = goroutine()
    assert process.walk(STACK - 0x300, STACK - 0x200, known=known, has_loop=has_loop) == WHOLE
    process.put(STACK - 0x308, STACK - 0x200)  # the function's own frame pointer is pushed and set
    found = process.walk(STACK - 0x380, STACK - 0x308, sp_offset=0x80, known=known, has_loop=has_loop)
    assert found == WHOLE
    assert process.walk(STACK - 0x380, STACK - 0x308, sp_offset=None, known=known, has_loop=has_loop) == WHOLE


@EVERY_LOOP
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_the_innermost_frames(frames: int, has_loop: bool) -> None:
    found = goroutine().walk(STACK - 0x300, STACK - 0x200, frames=frames, has_loop=has_loop)
    assert found == WHOLE[: frames - 1]


@EVERY_LOOP
def test_a_stack_ends_where_it_leads_nowhere(has_loop: bool) -> None:
    for pointer in (STACK - 0x200, STACK - 0x208, STACK + 0x1000, 0xDEAD):  # itself, below, above, unmapped
        process = goroutine()
        process.put(STACK - 0x200, pointer)
        assert process.walk(STACK - 0x300, STACK - 0x200, has_loop=has_loop) == [FIRST, SECOND]
    process = goroutine()
    process.put(STACK - 0xF8, 0)
    assert process.walk(STACK - 0x300, STACK - 0x200, has_loop=has_loop) == [FIRST, SECOND]
    assert process.walk(0x10, STACK - 0x200, has_loop=has_loop) == []
    assert process.walk(STACK - 0x300, STACK - 0x200, g=0x10, has_loop=has_loop) == []


def on_thread(process: Process, above: int) -> None:
    """The probed function stands on the thread's stack and returns to `above`, whose caller's frame is elsewhere."""
    process.put(THREAD - 0x100, above)


@EVERY_LOOP
def test_behind_systemstack(has_loop: bool) -> None:
    """From Go 1.21 on it has a frame of its own, before it has none."""
    process = goroutine()
    on_thread(process, SECOND + 8)
    process.put(STACK - 0x308, STACK - 0x200)
    process.saved(SWITCH + 1, STACK - 0x308, STACK - 0x308)
    found = process.walk(THREAD - 0x100, STACK - 0x308, g=G0, has_loop=has_loop)
    assert found == [SECOND + 8, *WHOLE]
    process.saved(SWITCH + 1, STACK - 0x300, STACK - 0x200)
    known = replace(KNOWN, switch_depth=0)
    found = process.walk(THREAD - 0x100, STACK - 0x200, g=G0, known=known, has_loop=has_loop)
    assert found == [SECOND + 8, *WHOLE]


@EVERY_LOOP
def test_behind_mcall_and_morestack(has_loop: bool) -> None:
    process = goroutine()
    on_thread(process, SECOND + 8)
    process.saved(FIRST, STACK - 0x280, STACK - 0x200)  # FIRST has called mcall
    assert process.walk(THREAD - 0x100, STACK - 0x200, g=G0, has_loop=has_loop) == [SECOND + 8, *WHOLE]
    on_thread(process, MORESTACK + 5)
    process.saved(PROBED + 9, STACK - 0x300, STACK - 0x200)  # a function that FIRST has called asks for more
    assert process.walk(THREAD - 0x100, 0, g=G0, has_loop=has_loop) == [MORESTACK + 5, PROBED + 9, *WHOLE]


@EVERY_LOOP
def test_a_thread_without_a_goroutine(has_loop: bool) -> None:
    process = goroutine()
    on_thread(process, SECOND + 8)
    process.put(M + KNOWN.curg, 0)
    assert process.walk(THREAD - 0x100, STACK - 0x200, g=G0, has_loop=has_loop) == [SECOND + 8]


def called_by_c(process: Process, saved_pc: int) -> None:
    """Go at STACK − 0x500, called by cgocallback, whose caller was called from Go at `saved_pc`."""
    process.put(STACK - 0x580, SECOND + 4)
    process.put(STACK - 0x500, 0x1234, CALLBACK + 7)  # what C had in RBP
    process.put(STACK - 0x500 + 16 + CGO.depth, saved_pc)
    asmcgocall = STACK - 0x500 + 16 + CGO.depth + 8
    process.put(asmcgocall + CGO.switch_depth, CGOCALL + 3)
    process.put(asmcgocall + CGO.switch_depth + CGO.caller_depth, STACK - 0x200, FIRST)


@EVERY_LOOP
def test_behind_c(has_loop: bool) -> None:
    process = goroutine()
    called_by_c(process, SWITCH + 1)
    found = process.walk(STACK - 0x580, STACK - 0x500, has_loop=has_loop)
    assert found == [SECOND + 4, CALLBACK + 7, CGOCALL + 3, *WHOLE]
    for frames in range(2, 7):
        cut = process.walk(STACK - 0x580, STACK - 0x500, frames=frames, has_loop=has_loop)
        assert cut == found[: frames - 1]
    called_by_c(process, GOEXIT + 1)
    assert process.walk(STACK - 0x580, STACK - 0x500, has_loop=has_loop) == [SECOND + 4, CALLBACK + 7, GOEXIT + 1]
    called_by_c(process, 0x77)
    assert process.walk(STACK - 0x580, STACK - 0x500, has_loop=has_loop) == [SECOND + 4, CALLBACK + 7]
