"""Maps of the in-process machine against a dictionary: each operation's result, and what is there afterwards."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from gotap.bpf.enums import MapType, Update
from gotap.inject.machine import maps
from gotap.inject.machine.errors import BusyError, MachineError
from gotap.inject.machine.host import Host
from gotap.inject.machine.layout import STRIPES, Bucket, Element
from gotap.inject.machine.maps import HookMap
from hook_region import host as region_host


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(maps, "_PATIENCE", 0.02)
    with region_host() as made:
        yield made


@pytest.mark.parametrize("key_size", [8, 16, 24, 40, 48, 56, 128])
@pytest.mark.parametrize("value_size", [8, 16, 344])
def test_operations_as_a_dictionary(host: Host, key_size: int, value_size: int) -> None:
    entries, rng = 50, random.Random(key_size * value_size)
    map = HookMap(host, MapType.HASH, key_size, value_size, entries, "test")
    model: dict[bytes, bytes] = {}
    keys = [rng.randbytes(key_size) for _ in range(80)]
    for _ in range(3000):
        key, value = rng.choice(keys), rng.randbytes(value_size)
        mode = rng.choice(list(Update))
        match rng.randrange(3):
            case 0:
                assert map.lookup(key) == model.get(key)
            case 1:
                assert map.delete(key) == (model.pop(key, None) is not None)
            case _:
                forbidden = key in model if mode is Update.NOEXIST else mode is Update.EXIST and key not in model
                if not forbidden and key not in model and len(model) == entries:
                    with pytest.raises(MachineError, match="full"):
                        map.update(key, value, mode)
                    continue
                assert map.update(key, value, mode) is not forbidden
                if not forbidden:
                    model[key] = value
    assert dict(map.items()) == model
    assert sorted(map.keys()) == sorted(model)


def test_full_again_after_all_was_deleted(host: Host) -> None:
    map = HookMap(host, MapType.HASH, 8, 8, 300, "test")
    for _ in range(3):
        for number in range(300):
            assert map.update(struct.pack("<Q", number), bytes(8), Update.NOEXIST)
        with pytest.raises(MachineError, match="full"):
            map.update(struct.pack("<Q", 300), bytes(8))
        assert all(map.delete(struct.pack("<Q", number)) for number in range(300))
        assert not list(map.keys())


def test_only_what_is_looked_at_is_brought(host: Host) -> None:
    map = HookMap(host, MapType.HASH, 8, 64, 10, "test", brought=24)
    for content in (b"x" * 64, b"y" * 64):
        assert map.update(bytes(8), content)
        value = map.lookup(bytes(8))
        assert value is not None
        assert value == content[:24] + bytes(40)


def test_large_map_grows_before_it_is_needed(host: Host) -> None:
    map = HookMap(host, MapType.HASH, 8, 1000, 5000, "test")
    before = map.memory()
    for number in range(5000):
        assert map.update(struct.pack("<Q", number), bytes(1000))
        map.provide_more()
    assert map.memory() > before
    assert len(list(map.keys())) == 5000


def test_target_never_takes_memory_itself(host: Host) -> None:
    """What threads may touch has memory already: else the page would be charged to the target."""
    maps = [HookMap(host, kind, 16, 64, 20_000, "test") for kind in (MapType.HASH, MapType.PERCPU_HASH)]
    before = host.region.memory()
    for map in maps:
        value = bytes(64 * (STRIPES if map.per_cpu else 1))
        for number in range(20_000):
            try:
                map.update(struct.pack("<QQ", number, 0), value)
            except MachineError:
                break
        else:
            pytest.fail("the map has taken more memory than gotap gave it")
    assert host.region.memory() == before


def test_least_lately_used_go(host: Host) -> None:
    map = HookMap(host, MapType.LRU_HASH, 8, 8, 256, "test")
    hot = [struct.pack("<Q", 1 << 40 | number) for number in range(16)]
    for key in hot:
        map.update(key, key)
    for number in range(5000):
        assert map.update(struct.pack("<Q", number), bytes(8))
        assert [map.lookup(key) for key in hot] == hot
    assert len(list(map.keys())) == 256
    assert map.lookup(struct.pack("<Q", 4999)) is not None


def test_per_cpu_values(host: Host) -> None:
    map = HookMap(host, MapType.PERCPU_HASH, 8, 24, 10, "test")
    key = b"12345678"
    values = b"".join(struct.pack("<QQQ", number, 1, 1 << 63) for number in range(STRIPES))
    assert map.update(key, values)
    assert map.lookup(key) == values
    expected = [sum(range(STRIPES)), STRIPES, (STRIPES << 63) % (1 << 64)]
    summed = map.lookup_sum(key)
    assert summed is not None
    assert summed.tolist() == expected
    keys, sums = map.sums()
    assert (keys.tobytes(), sums.tolist()) == (key, [expected])


@pytest.mark.parametrize("kind", [MapType.ARRAY, MapType.PERCPU_ARRAY])
def test_arrays(host: Host, kind: MapType) -> None:
    map = HookMap(host, kind, 4, 12, 5, "test")
    width = 16 * STRIPES if kind is MapType.PERCPU_ARRAY else 12
    assert map.lookup(struct.pack("<I", 4)) == bytes(width)
    assert map.lookup(struct.pack("<I", 5)) is None
    value = bytes(range(width))
    assert map.update(struct.pack("<I", 3), value)
    assert not map.update(struct.pack("<I", 3), value, Update.NOEXIST)
    assert map.lookup(struct.pack("<I", 3)) == value
    assert map.lookup(struct.pack("<I", 2)) == bytes(width)
    with pytest.raises(MachineError):
        map.update(struct.pack("<I", 5), value)
    assert [key for key, value in map.items() if any(value)] == [struct.pack("<I", 3)]


def test_a_lock_that_nobody_gives_back(host: Host) -> None:
    """Of a target that was stopped in the middle of a change, or a gotap that died there: nothing waits for ever."""
    map = HookMap(host, MapType.HASH, 8, 16, 1, "test")
    map.update(bytes(8), bytes(range(16)))
    buckets = host.region.bytes[map.offset + map._buckets_at :].view(np.uint32)[: 2 * map._buckets].reshape(-1, 2)
    for holder in (1, 2):
        buckets[:, Bucket.LOCK // 4] = holder
        assert map.lookup(bytes(8)) == bytes(range(16))
        assert dict(map.items()) == {bytes(8): bytes(range(16))}
        with pytest.raises(BusyError, match="stopped"):
            map.delete(bytes(8))
        with pytest.raises(BusyError, match="stopped"):
            map.update(bytes(8), bytes(16))
    buckets[:, Bucket.LOCK // 4] = 0
    assert map.delete(bytes(8))


def test_garbage_neither_crashes_nor_hangs(host: Host) -> None:
    """A target gone mad may write anything to what it shares."""
    rng = random.Random(1)
    for _ in range(10):
        map = HookMap(host, MapType.HASH, 8, 64, 500, "test")
        for number in range(400):
            map.update(struct.pack("<Q", number), bytes(64))
        shared = host.region.bytes[map.offset : map.offset + map._size]
        at = rng.randrange(len(shared) - 4096)
        shared[at : at + 4096] = np.frombuffer(rng.randbytes(4096), np.uint8)
        shared[map._values_at + Element.NEXT :: map._stride][: rng.randrange(200)] = rng.randrange(256)
        map.entries()
        for number in range(0, 400, 23):
            key = struct.pack("<Q", number)
            map.lookup(key)
            try:
                map.delete(key)
                map.update(key, bytes(64))
            except MachineError:
                pass
        map.close()


def test_no_room(host: Host) -> None:
    with pytest.raises(MachineError, match="no room in the 64 MB"):
        HookMap(host, MapType.ARRAY, 4, 8, 1 << 25, "test")
    with pytest.raises(MachineError, match="whole words"):
        HookMap(host, MapType.HASH, 12, 8, 1, "test")
