"""Patches in processes whose threads stand where they are in the way; what else may keep a patch out."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

import hooking
from gotap.inject.patches import applying
from gotap.inject.patches.applying import FOREIGN, IN_THE_WAY, OCCUPIED, UNREADABLE, Outcome, apply, restore
from gotap.inject.patches.leftovers import remove
from gotap.inject.patches.patch import Patch, jump_patch
from gotap.inject.patches.standing import refers_to, standing
from gotap.inject.tracee import stopped
from gotap.inject.tracee.memory import TargetMemory
from gotap.inject.trampolines.windows import PAGE
from hooking import Sites, put_springboards
from processes import eventually, python
from torture_program import FUNCTIONS, executable, torture

#: A thread stands at 2 for ever; SIGUSR1 makes it stand at 0x100, in a handler that blocks signals; at 0x200 is room.
_SPINNING = """
import ctypes, mmap, sys
memory = mmap.mmap(-1, 2 * mmap.PAGESIZE, prot=7)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
memory[0:6] = bytes.fromhex("6690 ebfe 9090")
memory[0x100:0x102] = bytes.fromhex("ebfe")
memory[0x200:0x220] = b"\\x90" * 32
memory[mmap.PAGESIZE - 8: mmap.PAGESIZE + 8] = b"\\x90" * 16
action = (ctypes.c_ulong * 20)(base + 0x100, *[2**64 - 1] * 16, 4)
assert ctypes.CDLL(None).sigaction(10, action, None) == 0
print(base, flush=True)
ctypes.PYFUNCTYPE(None)(base)()
"""


class Anywhere:
    """In place of a trampolines' file: these jumps lead nowhere, and nobody goes there."""

    key = (0, 0)

    def is_mapped_in(self, pid: int) -> bool:
        return True


@contextmanager
def spinning() -> Iterator[tuple[int, int]]:
    """Pid, and the address of its code."""
    with python(_SPINNING) as child:
        assert child.stdout is not None
        base = int(child.stdout.readline())
        eventually(lambda: base + 2 in places(child.pid), "the thread's arrival")
        yield child.pid, base


def places(pid: int) -> set[int]:
    with stopped(pid) as target:
        return standing(target)


def read(pid: int, address: int, size: int) -> bytes:
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        memory.seek(address)
        return memory.read(size)


def put(pid: int, *patches: Patch) -> Outcome:
    return apply(pid, patches, Anywhere())  # type: ignore[arg-type]


def patch(pid: int, address: int, size: int = 5) -> Patch:
    return jump_patch(address, read(pid, address, size), address + 0x1000)


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "_TRIES", 3)


@pytest.mark.usefixtures("few_tries")
def test_a_thread_that_stands_inside_is_waited_for_and_then_left_alone() -> None:
    with spinning() as (pid, base):
        inside, elsewhere = patch(pid, base), patch(pid, base + 0x200)
        outcome = put(pid, elsewhere, inside)
        assert outcome.done == (elsewhere,)
        assert [(one.patch, one.reason) for one in outcome.refused] == [(inside, OCCUPIED)]
        assert len(outcome.stops) == 3
        assert all(outcome.stops)
        assert read(pid, base, 6) == bytes.fromhex("6690ebfe9090")


@pytest.mark.usefixtures("few_tries")
def test_a_thread_that_a_handler_has_interrupted_inside() -> None:
    with spinning() as (pid, base):
        os.kill(pid, signal.SIGUSR1)
        eventually(lambda: base + 0x100 in places(pid), "the handler")
        assert base + 2 in places(pid), "found in the signal frame"
        assert [one.reason for one in put(pid, patch(pid, base)).refused] == [OCCUPIED]
        with stopped(pid) as target:
            assert refers_to(target, [(base, base + 0x10)])
            assert refers_to(target, [(base + 0x100, base + 0x110)])
            assert not refers_to(target, [(base + 0x300, base + 0x400)])


def test_a_thread_at_the_first_instruction_is_not_in_the_way() -> None:
    with spinning() as (pid, base):
        assert put(pid, patch(pid, base + 2)).refused == ()


def test_code_that_is_not_what_was_expected() -> None:
    with spinning() as (pid, base):
        good = patch(pid, base + 0x200, 9)
        breakpoint_behind = replace(good, original=good.original[:7] + b"\xcc" + good.original[8:])
        unmapped = Patch(0x1000, bytes(5), bytes(5))
        outcome = put(pid, breakpoint_behind, unmapped)
        assert {(one.patch, one.reason) for one in outcome.refused} == {
            (breakpoint_behind, FOREIGN), (unmapped, UNREADABLE)
        }  # fmt: skip
        assert put(pid, good).done == (good,)
        assert put(pid, good).done == (good,), "it is there already"


def test_words_are_poked_where_memory_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with proc_mem.force_override=never. What lies around the patches stays as it is."""
    monkeypatch.setattr(TargetMemory, "overwrite", lambda *_: False)
    with spinning() as (pid, base):
        before = read(pid, base, 2 * PAGE)
        patches = [patch(pid, base + at) for at in (0x201, 0x206, 0x213, PAGE - 5, PAGE)]
        assert put(pid, *patches).done == tuple(patches)
        now = bytearray(before)
        for one in patches:
            now[one.address - base : one.end - base] = one.new
        assert read(pid, base, 2 * PAGE) == now
        with stopped(pid) as target:
            assert restore(target, patches).refused == ()
        assert read(pid, base, 2 * PAGE) == before


def test_no_jump_among_instructions_that_run_in_a_trampoline() -> None:
    sites = Sites(executable()).find(FUNCTIONS)
    with torture() as target:
        first = next(site for site in sites.all() if site.live and site.moved_end > site.start + 5)
        with hooking.closing(put_springboards(target.pid, sites, [first])) as one:
            one.apply()
            start = first.start + 5 + hooking.bias_of(target.pid, sites.image)
            outcome = put(target.pid, patch(target.pid, start))
            assert [refused.reason for refused in outcome.refused] == [IN_THE_WAY]
            assert remove(target.pid).is_complete
        target.works()
