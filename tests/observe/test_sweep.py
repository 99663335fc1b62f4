"""Operations that never end make room for others, oldest first, and leave nothing behind."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from gotap.bpf.codegen import frame
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.tracing import Sampling
from gotap.bpf.enums import MapFlags, MapType
from gotap.kernel import features
from gotap.kernel.bpf import Map
from gotap.kernel.machine import KernelMachine
from gotap.observe import watch
from gotap.observe.sweep import sweep
from gotap.observe.watch import Watcher
from gotap.probe.record import HEADER
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]

HOUR = 3600 * 10**9


@pytest.fixture
def maps() -> Iterator[dict[str, Map]]:
    hash, lazily = MapType.HASH, MapFlags.NO_PREALLOC
    with (
        Map.create(hash, frame.ROW_KEY_SIZE, frame.ROW_SIZE, 64, lazily) as rows,
        Map.create(hash, frame.ROW_KEY_SIZE, frame.RECORD_SIZE, 64, lazily) as spill,
        Map.create(hash, frame.SCOPE_KEY_SIZE, frame.SCOPE_SIZE, 64, lazily) as scopes,
    ):
        yield {frame.ROWS: rows, frame.SPILL: spill, frame.SCOPES: scopes}


def open_row(maps: dict[str, Map], number: int, begin: int) -> bytes:
    """A row begun at `begin`, ns, with texts elsewhere and a scope; returns its key."""
    header = np.zeros(1, HEADER)
    header["begin"] = begin
    header["span_id"] = np.frombuffer(number.to_bytes(8, "little"), np.uint8)
    key = number.to_bytes(frame.ROW_KEY_SIZE, "little")
    maps[frame.ROWS].update(key, header.tobytes().ljust(frame.ROW_SIZE, b"\0"))
    maps[frame.SPILL].update(key, bytes(frame.RECORD_SIZE))
    maps[frame.SCOPES].update(number.to_bytes(frame.SCOPE_KEY_SIZE, "little"), header.tobytes())
    return key


def test_the_oldest_go_with_all_they_have(maps: dict[str, Map]) -> None:
    now = time.monotonic_ns()
    ages = {1: 2, 2: 5, 3: 0, 4: 4, 5: 3}
    keys = {number: open_row(maps, number, max(1, now - age * HOUR // 1000)) for number, age in ages.items()}
    borrowed = open_row(maps, 6, 0)
    assert sweep(maps, 2, HOUR // 1000) == 2
    left = {keys[number] for number in (1, 3, 5)} | {borrowed}
    for name in maps:
        assert {key[:8] for key in maps[name].keys()} == {key[:8] for key in left}  # noqa: SIM118
    assert sweep(maps, 9, HOUR // 1000) == 2
    assert set(maps[frame.ROWS].keys()) == {keys[3], borrowed}
    assert sweep(maps, 9, HOUR // 1000) == 0


def test_a_watcher_sweeps_when_an_operation_found_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "sweep", partial(sweep, old=0))
    watcher = Watcher(KernelMachine(features.essential()), Sampling())
    try:
        key = open_row(watcher.maps, 1, 1)
        assert list(watcher.records()) == []
        assert watcher.maps[frame.ROWS].lookup(key), "there is room"
        counters = watcher.maps[frame.COUNTERS_MAP]
        value = bytearray(counters.lookup(bytes(4)) or b"")
        struct.pack_into("<Q", value, 8 * Counter.ROWS_FULL, 1)
        counters.update(bytes(4), bytes(value))
        monkeypatch.setattr(watch.time, "monotonic", partial(float, time.monotonic() + 60))
        assert list(watcher.records()) == []
        assert watcher.maps[frame.ROWS].lookup(key) is None
        assert watcher.totals().counters[Counter.STALE] == 1
    finally:
        watcher.close()
