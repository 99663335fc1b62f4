"""The ring of the in-process machine: writers in machine code on several threads, gotap reading meanwhile."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from gotap.bpf.isa import Helper, RingFlags
from gotap.inject.machine.errors import MachineError
from gotap.inject.machine.host import Host
from gotap.inject.machine.layout import STRIPES, Header, Slot
from gotap.inject.machine.ring import HookRing
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import EDX, R12, R13, R14, R15, RAX, RCX, RDI, RSI, mem, qword
from hook_region import Bytes, Target, at_once, target
from hook_region import host as region_host

SIZE = 1 << 16
#: In the slot, behind the helpers' own: a record, how many were not taken.
RECORD, DROPPED = Slot.STACK_END, Slot.STACK_END + 0x200


@pytest.fixture
def host() -> Iterator[Host]:
    with region_host() as made:
        yield made


@pytest.fixture(params=[1, 2, 64])
def cpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(os, "cpu_count", lambda: request.param)
    return int(request.param)


@pytest.fixture
def ring(host: Host, cpus: int) -> Iterator[HookRing]:
    with HookRing(host, SIZE) as made:
        yield made


def output(host: Host, ring: HookRing, data: bytes, flags: int = RingFlags.NO_WAKEUP) -> int:
    content = Bytes(data)
    return host.call(Helper.RINGBUF_OUTPUT, ring.map.here, content.address, len(data), flags)


def test_records_of_all_lengths(host: Host, ring: HookRing) -> None:
    """Around the end many times: what is left there is skipped."""
    number = 0
    for _ in range(60):
        sent = []
        for length in (1, 8, 100, 1000, 7, 24):
            number += 1
            sent.append((struct.pack("<Q", number) * 125)[:length])
            assert output(host, ring, sent[-1]) == 0
        got = [(int(place), row.tobytes()) for rows, places in ring.read_placed()
               for row, place in zip(rows, places, strict=True)]  # fmt: skip
        assert [record for _, record in sorted(got, key=lambda one: one[0])] == sent
    assert ring.read() == []


def test_full_and_free_again(host: Host, ring: HookRing, cpus: int) -> None:
    taken = 0
    while output(host, ring, bytes(120)) == 0:
        taken += 1
    assert taken == SIZE // 128 // (2 if cpus > 4 else 1)
    assert host.call(Helper.RINGBUF_RESERVE, ring.map.here, 8, 0) == 0
    assert ring.waiting() == SIZE
    assert sum(len(rows) for rows in ring.read()) == taken
    assert ring.waiting() == 0
    assert output(host, ring, bytes(120)) == 0


def test_reserved_and_discarded(host: Host, ring: HookRing) -> None:
    first = host.call(Helper.RINGBUF_RESERVE, ring.map.here, 16, 0)
    second = host.call(Helper.RINGBUF_RESERVE, ring.map.here, 16, 0)
    assert first
    assert second == first + 24
    host.call(Helper.RINGBUF_SUBMIT, second, 0)
    assert ring.read() == []  # the first is not complete
    host.call(Helper.RINGBUF_DISCARD, first, 0)
    assert [rows.shape for rows in ring.read()] == [(1, 16)]
    assert host.call(Helper.RINGBUF_RESERVE, ring.map.here, 0, 0) == 0
    assert host.call(Helper.RINGBUF_RESERVE, ring.map.here, SIZE, 0) == 0


def test_query(host: Host, ring: HookRing, cpus: int) -> None:
    output(host, ring, bytes(24))
    ring.read()
    output(host, ring, bytes(8))
    size = SIZE // 2 if cpus > 4 else SIZE
    assert [host.call(Helper.RINGBUF_QUERY, ring.map.here, what) for what in range(4)] == [16, size, 32, 48]


def test_woken_only_when_asked(host: Host, ring: HookRing) -> None:
    fd = ring.fileno()
    output(host, ring, bytes(8))
    assert not select.select([fd], [], [], 0)[0]
    while not host.region.read_u32(Header.WAITING):  # the thread that sleeps has just been started
        pass
    output(host, ring, bytes(8), RingFlags.FORCE_WAKEUP)
    assert select.select([fd], [], [], 10)[0] == [fd]
    assert ring.wait(0)
    ring.read()
    assert not select.select([fd], [], [], 0)[0]
    assert not ring.wait(0)


def test_places_tell_what_was_read(host: Host, ring: HookRing) -> None:
    output(host, ring, bytes(8))
    place = ring.written_bytes
    assert ring.read_bytes < place
    output(host, ring, bytes(8))
    later = ring.written_bytes
    ring.read()
    assert ring.read_bytes == later > place


def test_size() -> None:
    with region_host() as host, pytest.raises(MachineError, match="power of two"):
        HookRing(host, 3 << 14)


def writer(program: Target) -> Callable[[Assembler], None]:
    """(RDI ring, RSI thread, RDX records): records of 16 to 80 bytes, by turns copied and made in place; the first word
    is the thread, the others how many are left."""

    def write(a: Assembler) -> None:
        a.mov(R13, RDI)
        a.mov(R14, RSI)
        a.mov(R15, EDX.sized(8))
        a.label("record")
        a.mov(mem(R12, RECORD), R14)
        for word in range(1, 10):
            a.mov(mem(R12, RECORD + 8 * word), R15)
        a.mov(RDI, R13)
        a.test(R15, 1)
        a.je("reserve")
        a.lea(RSI, mem(R12, RECORD))
        length(a)
        a.mov(EDX, RAX.sized(4))
        a.mov(RCX, 1)
        program.helper(a, Helper.RINGBUF_OUTPUT)
        a.test(RAX, RAX)
        a.je("next")
        a.jmp("dropped")
        a.label("reserve")
        length(a)
        a.mov(RSI, RAX)
        program.helper(a, Helper.RINGBUF_RESERVE)
        a.test(RAX, RAX)
        a.je("dropped")
        a.mov(RDI, RAX)
        a.mov(RAX, R14)
        a.mov(mem(RDI), RAX)
        a.mov(RCX, R15)
        a.and_(RCX, 7)
        a.inc(RCX)
        a.label("word")
        a.mov(mem(RDI, 0, RCX, 8), R15)
        a.dec(RCX)
        a.jne("word")
        a.mov(RSI, 1)
        program.helper(a, Helper.RINGBUF_SUBMIT)
        a.jmp("next")
        a.label("dropped")
        a.inc(qword(R12, DROPPED))
        a.label("next")
        a.dec(R15)
        a.jne("record")
        a.ret()

    def length(a: Assembler) -> None:
        """RAX = 16 to 72, by what is left."""
        a.mov(RAX, R15)
        a.and_(RAX, 7)
        a.add(RAX, 2)
        a.shl(RAX, 3)

    return write


@pytest.mark.parametrize("threads", [2, STRIPES + 2])
def test_nothing_lost_nothing_twice(host: Host, ring: HookRing, threads: int) -> None:
    """Sent = read + dropped, every record whole, and those of one thread in their order."""
    count, done = 100_000 // threads * 2, []
    got: list[list[int]] = [[] for _ in range(threads + 1)]

    def keep(records: list[np.ndarray]) -> None:
        for rows in records:
            words = rows.view(np.uint64)
            left = words[:, 1:]
            assert (left == left[:, :1]).all()
            assert ((left[:, 0] & np.uint64(7)) + np.uint64(2) == words.shape[1]).all()
            for thread, number in zip(words[:, 0].tolist(), left[:, 0].tolist(), strict=True):
                got[thread].append(number)

    def read() -> None:
        while len(done) < threads:
            keep(ring.read())
        keep(ring.read())

    def write(program: Target, slot: int, routine: int) -> None:
        try:
            program.call(slot, routine, ring.map.descriptor, slot, count)
        finally:
            done.append(slot)

    with target(host) as program:
        memory = program.assembled(writer(program))
        at_once([read, *(partial(write, program, slot, memory.address) for slot in range(1, threads + 1))])
        for slot in range(1, threads + 1):
            dropped = host.region.read_u64(host.region.slot_address(slot, 0) + DROPPED)
            numbers = got[slot]
            assert len(numbers) + dropped == count
            assert len(set(numbers)) == len(numbers)
            for length in range(8):  # an array holds one length
                same = [number for number in numbers if number & 7 == length]
                assert same == sorted(same, reverse=True)
        memory.close()


def test_garbage_neither_crashes_nor_hangs(host: Host) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        with HookRing(host, 1 << 14) as ring:
            for _ in range(20):
                output(host, ring, bytes(40))
            shared = host.region.bytes[ring.offset : ring.offset + ring.memory()]
            at = int(rng.integers(len(shared) - 512))
            shared[at : at + 512] = rng.integers(0, 256, 512, np.uint8)
            shared[64:2048:8] = rng.integers(0, 256, len(range(64, 2048, 8)), np.uint8)
            for _ in range(3):
                ring.read()
                output(host, ring, bytes(40))
