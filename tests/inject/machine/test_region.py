"""The memory that gotap and a target share: what is told in it, what it takes, and slots of threads that have ended."""

from __future__ import annotations

import os
import struct
import subprocess
import threading
from collections.abc import Iterator

import pytest

from gotap.bpf.enums import MapType
from gotap.bpf.isa import Helper
from gotap.inject.machine import slots
from gotap.inject.machine.errors import NoMemoryError
from gotap.inject.machine.host import Host
from gotap.inject.machine.layout import MAGIC, RANGE_COUNT, Header, Range, Slot
from gotap.inject.machine.maps import HookMap
from gotap.inject.machine.region import Region
from gotap.inject.machine.ring import HookRing
from hook_region import host as region_host
from hook_region import target


@pytest.fixture
def host() -> Iterator[Host]:
    with region_host() as made:
        yield made


def ranges(region: Region) -> list[tuple[int, int]]:
    places = (Header.RANGES + number * Range.SIZE for number in range(RANGE_COUNT))
    return [(region.read_u64(at + Range.LOW), region.read_u64(at + Range.HIGH)) for at in places]


def test_file_cannot_shrink(host: Host) -> None:
    """Whoever touches what has been cut off dies of SIGBUS."""
    fd = host.region._fd
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 4096)
    assert host.region.read_u64(Header.MAGIC) == MAGIC


def test_room_is_used_again(host: Host) -> None:
    before = host.region.memory()
    for _ in range(200):
        map = HookMap(host, MapType.ARRAY, 4, 8, 1 << 17, "test")
        assert map.lookup(bytes(4)) == bytes(8)
        map.update(bytes(4), b"12345678")
        map.close()
    assert host.region.memory() == before


@pytest.mark.parametrize("heap", [0xC0 << 32, 0x24D74E800000], ids=["up to Go 1.25", "from Go 1.26 on"])
def test_what_stays_readable(host: Host, heap: int) -> None:
    """The Go heap has the first place; a range grows, and nothing that was said is taken back."""
    region = host.region
    region.set_readable([(0x400000, 0x500000), (heap, heap + 0x400000)])
    region.set_readable([(0x400000, 0x480000), (heap, heap + 0x800000), (heap + 0x900000, heap + 0xA00000)])
    assert ranges(region)[:4] == [
        (heap, heap + 0x800000), (0x400000, 0x500000), (heap + 0x900000, heap + 0xA00000), ((1 << 64) - 1, 0),
    ]  # fmt: skip
    region.set_readable([(number << 20, (number << 20) + 1) for number in range(129, 191)])
    assert ranges(region)[0] == (heap, heap + 0x800000)


def test_no_memory(monkeypatch: pytest.MonkeyPatch, host: Host) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(NoMemoryError, match=r"cannot get .* KB to share with the target: no memory is left"):
        HookRing(host, 1 << 16)
    with pytest.raises(NoMemoryError):
        HookMap(host, MapType.HASH, 8, 8, 10, "test")


def test_slots_of_dead_threads(host: Host) -> None:
    region = host.region
    base, count = region.read_u64(Header.SLOTS), region.read_u32(Header.SLOT_COUNT)
    assert not slots.are_short(region, 1)
    for number in range(1, count):
        at = base + number * Slot.SIZE
        region.write_u32(at + Slot.CLAIM, 1)
        region.write_u64(at + Slot.OWNER, 0x7F00 << 32 | number << 20)
        region.write_u32(at + Slot.TID, 1000 + number)
    region.slots()[3, Slot.BUSY] = 1
    region.slots()[4, Slot.OWNER + 4 : Slot.OWNER + 8] = 0  # its thread is at it
    assert slots.are_short(region, 3)
    assert not slots.are_short(region, count - 1)
    assert slots.free(region, [0x7F00 << 32 | number << 20 for number in (1, 2, 4)]) == count - 5
    owners = [region.read_u64(base + number * Slot.SIZE + Slot.OWNER) for number in range(count)]
    assert [bool(owner) for owner in owners] == [number < 5 for number in range(count)]
    assert not slots.are_short(region, 3)


def test_ids_are_asked_for_anew_when_a_thread_has_ended(host: Host) -> None:
    ids, region = slots.Ids(host.region), host.region
    seen = []
    for threads in ([1, 2], [1, 2, 3], [2, 3], [2, 3], [4]):
        ids.look(threads)
        seen.append(region.read_u32(Header.GENERATION))
    assert seen == [1, 1, 2, 2, 3]


def test_slots_for_many_threads() -> None:
    assert [slots.wanted(threads) for threads in (1, 63, 64, 300, 100_000)] == [256, 256, 512, 2048, 4096]


def test_target_that_ended_in_the_middle_of_a_record(host: Host) -> None:
    """What is behind it is read nevertheless."""
    with HookRing(host, 1 << 16) as ring, target(host) as program:
        first = host.call(Helper.RINGBUF_RESERVE, ring.map.here, 16, 0)
        second = host.call(Helper.RINGBUF_RESERVE, ring.map.here, 24, 0)
        host.call(Helper.RINGBUF_RESERVE, ring.map.here, 8, 0)
        struct.pack_into("<Q", host.region._map, second - host.region.here, 7)
        host.call(Helper.RINGBUF_SUBMIT, second, 0)
        assert first
        assert ring.read() == []
        assert ring.ended() == 1
        assert [rows[:, 0].tolist() for rows in ring.read()] == [[7]]
        assert ring.ended() == 1
        assert ring.waiting() == 0
        assert host.region.counters()["cut off by the end"] == 2
        assert program.call(1, Helper.RINGBUF_RESERVE, ring.map.descriptor, 8, 0)


def test_end_of_the_target_is_noticed(host: Host) -> None:
    child = subprocess.Popen(["true"])
    host.region.describe(tgid=child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    with HookRing(host, 1 << 16) as ring:
        host.call(Helper.RINGBUF_RESERVE, ring.map.here, 16, 0)
        second = host.call(Helper.RINGBUF_RESERVE, ring.map.here, 24, 0)
        host.call(Helper.RINGBUF_SUBMIT, second, 0)
        assert [rows.shape for rows in ring.read()] == [(1, 24)]
    child.wait()


def test_host_calls_one_at_a_time(host: Host) -> None:
    map = HookMap(host, MapType.HASH, 8, 8, 1000, "test")

    def use(number: int) -> None:
        key = struct.pack("<Q", number)
        for _ in range(300):
            assert map.update(key, key)
            assert map.lookup(key) == key
            assert map.delete(key)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not list(map.keys())
