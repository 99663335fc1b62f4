"""The memory that gotap and a target share: what is told in it, what it takes, and slots of threads that have ended."""

from __future__ import annotations

import os
import struct
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
from gotap.inject.machine.region import GO_HEAP, Region
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


def test_what_stays_readable(host: Host) -> None:
    """The Go heap has the first place; a range grows, and nothing that was said is taken back."""
    region, heap = host.region, GO_HEAP[0]
    region.set_readable([(0x400000, 0x500000), (heap, heap + 0x400000)])
    region.set_readable([(0x400000, 0x480000), (heap, heap + 0x800000), (heap + 0x900000, heap + 0xA00000)])
    assert ranges(region)[:4] == [
        (heap, heap + 0x800000), (0x400000, 0x500000), (heap + 0x900000, heap + 0xA00000), ((1 << 64) - 1, 0),
    ]  # fmt: skip
    region.set_readable([(number << 20, (number << 20) + 1) for number in range(100, 200)])
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
    assert not slots.are_short(region)
    for number in range(1, count):
        at = base + number * Slot.SIZE
        region.write_u32(at + Slot.CLAIM, 1)
        region.write_u64(at + Slot.OWNER, number << 20)
        region.write_u32(at + Slot.TID, 1000 + number)
    region.slots()[3, Slot.BUSY] = 1
    assert slots.are_short(region)
    assert slots.forget_ids(region, {1001, 1002, 1003}) == count - 4
    assert slots.free(region, {1 << 20, 2 << 20}) == count - 4
    owners = [region.read_u64(base + number * Slot.SIZE + Slot.OWNER) for number in range(count)]
    assert owners == [1, 1 << 20, 2 << 20, 3 << 20, *(0 for _ in range(4, count))]
    assert not slots.are_short(region)


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
        assert program.call(1, Helper.RINGBUF_RESERVE, ring.map.descriptor, 8, 0)


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
