"""Clock, ids, random numbers, names: what helpers tell, against what the kernel tells Python."""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from gotap.bpf.isa import Helper
from gotap.inject.machine import clock
from gotap.inject.machine.clock import HookClock, vdso_clock
from gotap.inject.machine.host import Host
from gotap.inject.machine.layout import Header, Slot
from hook_region import Bytes, Target, at_once, target
from hook_region import host as region_host


@pytest.fixture
def host() -> Iterator[Host]:
    with region_host() as made:
        yield made


@pytest.fixture
def program(host: Host) -> Iterator[Target]:
    with target(host) as made:
        yield made


def signed_off(host: Host) -> tuple[int, int]:
    """How far the clock is before and behind the kernel's at least: both are 0 or less when they may agree."""
    before = time.monotonic_ns()
    now = host.call(Helper.KTIME_GET_NS)
    after = time.monotonic_ns()
    return before - now, now - after


def test_clock_follows_the_kernels(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrected often, since the test is short. It must not step, and not be far off: a millisecond is much here, but
    the machine may be taken off its CPU between two looks."""
    monkeypatch.setattr(clock, "PERIOD", 0.01)
    made = HookClock(host.region, host.ticks)
    last = 0
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        now = host.call(Helper.KTIME_GET_NS)
        assert now >= last
        last = now
        made.tune()
    assert max(signed_off(host)) < 1_000_000


def test_times_grow_on_every_thread(host: Host, program: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PERIOD", 1e-4)
    made = HookClock(host.region, host.ticks)
    ended = threading.Event()

    def ask(slot: int) -> None:
        last = 0
        for _ in range(30_000):
            now = program.call(slot, Helper.KTIME_GET_NS)
            assert now >= last
            last = now
        ended.set()

    def tune() -> None:
        while not ended.is_set():
            made.tune()

    at_once([lambda: ask(1), lambda: ask(2), tune])


def test_vdso_where_the_tsc_is_no_clock() -> None:
    own = ctypes.CDLL(None).getauxval
    own.restype, own.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    with region_host() as first, Host(first.region, vdso_clock(own(33))) as host:
        for _ in range(100):
            before = time.monotonic_ns()
            now = host.call(Helper.KTIME_GET_NS)
            assert before <= now <= time.monotonic_ns()


def test_ids(program: Target) -> None:
    region = program.region
    region.describe(tgid=4242, comm=b"a-name-that-is-longer")
    seen: dict[int, list[int]] = {}

    def ask(slot: int) -> None:
        into = Bytes(8)
        assert program.call(slot, Helper.GET_NS_CURRENT_PID_TGID, 1, 2, into.address, 8) == 0
        seen[slot] = [program.call(slot, Helper.GET_CURRENT_PID_TGID), *struct.unpack("<II", into.raw),
                      threading.get_native_id()]  # fmt: skip

    at_once([lambda: ask(1), lambda: ask(2)])
    for both, tid, tgid, expected in seen.values():
        assert (both >> 32, both & 0xFFFFFFFF, tgid, tid) == (4242, expected, 4242, expected)
    at = region.slot_address(1, 0) + Slot.TID
    region.write_u32(at, 7)
    assert program.call(1, Helper.GET_CURRENT_PID_TGID) & 0xFFFFFFFF == 7
    region.write_u32(Header.GENERATION, 2)
    assert program.call(1, Helper.GET_CURRENT_PID_TGID) & 0xFFFFFFFF == threading.get_native_id()


def test_name(program: Target) -> None:
    program.region.describe(tgid=1, comm=b"a-name-that-is-longer")
    for room in (16, 20):
        into = Bytes(32)
        assert program.call(1, Helper.GET_CURRENT_COMM, into.address, room) == 0
        assert into.raw == b"a-name-that-is-".ljust(32, b"\0")


def test_cpu(program: Target) -> None:
    cpus = os.sched_getaffinity(0)
    try:
        for cpu in cpus:
            os.sched_setaffinity(0, {cpu})
            assert program.call(1, Helper.GET_SMP_PROCESSOR_ID) == cpu
    finally:
        os.sched_setaffinity(0, cpus)


def test_random_numbers(program: Target) -> None:
    """32 bits each, another series on each thread."""
    numbers = [program.call(slot, Helper.GET_PRANDOM_U32) for slot in (1, 2) for _ in range(4000)]
    assert len(set(numbers)) > 7990
    for bit in range(32):
        ones = sum(number >> bit & 1 for number in numbers)
        assert 3600 < ones < 4400
    assert max(numbers) < 1 << 32


def test_cookie(program: Target) -> None:
    program.region.write_u64(program.region.slot_address(3, 0) + Slot.COOKIE, 0x123456789ABCDEF)
    assert program.call(3, Helper.GET_ATTACH_COOKIE) == 0x123456789ABCDEF
