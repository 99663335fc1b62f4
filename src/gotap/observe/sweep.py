"""Removes operations that will hardly end any more, once there is no room for others.

An end may never come: a panic can leave a call where no probe sits, and a begin at the same place of the same goroutine
need not follow. Such a row cannot be told from an operation that takes long, so nothing is touched while there is room.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.codegen import frame
from gotap.bpf.machine import Map
from gotap.probe.record import HEADER

#: Nanoseconds after which an operation may be given up.
OLD = 600 * 10**9


def sweep(maps: Mapping[str, Map], count: int, old: int = OLD) -> int:
    """Removes up to `count` rows begun `old` ns ago, oldest first, with all they have; returns how many."""
    rows = maps[frame.ROWS]
    keys, values = rows.entries()
    headers = _headers(values)
    begun = headers["begin"]
    # Without a begin: borrowed as scratch for a moment, or just being filled.
    found = np.flatnonzero((begun > 0) & (begun < max(0, time.monotonic_ns() - old)))
    removed, spans = 0, set()
    for index in found[np.argsort(begun[found], kind="stable")][:count].tolist():
        key = keys[index].tobytes()
        now = rows.lookup(key)
        if now is None or _headers(np.frombuffer(now, np.uint8)[None])[0] != headers[index]:
            continue  # it has ended meanwhile
        removed += rows.delete(key)
        maps[frame.SPILL].delete(key)
        spans.add(headers["span_id"][index].tobytes())
    scopes = maps[frame.SCOPES]
    for key, value in scopes.items() if spans else ():
        if value[frame.field("span_id") :][:8] in spans:
            scopes.delete(key)
    return removed


def _headers(values: NDArray[np.uint8]) -> NDArray[np.void]:
    return np.ascontiguousarray(values[:, : HEADER.itemsize]).view(HEADER)[:, 0]
