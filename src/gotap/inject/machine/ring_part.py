"""One of the rings that a ring is made of, and its reader.

Whole runs of records of one size are copied at once, as gotap.kernel.ring does.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from gotap.inject.machine.layout import DISCARDED, LENGTH_MASK, Record, RingState

#: Records of one size in a row from which columns cost less than a walk.
_SHORT_RUN = 16
_TIME_BITS = 32

Rows = NDArray[np.uint8]
#: Rows of one length, and the time of each.
Run = tuple[Rows, NDArray[np.uint64]]


class Part:
    """One of the rings, and where its reader is. A target gone mad may have written anything: positions are checked."""

    def __init__(self, region_bytes: Rows, state: int, data: int, size: int) -> None:
        self.positions = region_bytes[state : state + RingState.SIZE].view(np.uint64)
        self.data = region_bytes[data : data + size]
        self.heads = self.data.view(np.uint64)
        self.view = memoryview(self.heads.data)
        self.size = size
        self.at = 0

    def skip(self) -> int:
        """Of a target that has ended: passes the records at the reader's place that nobody will complete; how many."""
        lost, end = 0, self.at + self.waiting()
        while self.at < end:
            head = self.view[(self.at % self.size) >> 3]
            if head & 0xFFFFFFFF:
                break
            length = head >> _TIME_BITS  # 0: its writer had not come so far
            lost += bool(length)
            self._free(min(self.at + (_step(length) if 0 < length < self.size else 8), end))
        return lost

    @property
    def end(self) -> int:
        """Where the writers are."""
        return int(self.positions[RingState.PRODUCER // 8])

    def waiting(self) -> int:
        return min(max(self.end - self.at, 0), self.size)

    def read(self, runs: dict[int, list[Run]]) -> None:
        """Adds what is complete to `runs`, by length, clears it, and gives the room back."""
        end = self.at + self.waiting()
        at = self.at
        while at < end:
            head = self.view[(at % self.size) >> 3]
            word = head & 0xFFFFFFFF
            length = word & LENGTH_MASK
            step = _step(length)
            if not word or at % self.size + step > self.size:
                break
            if word & DISCARDED:
                at += step
                continue
            count = self._run(at, end, word)
            start = at % self.size
            window = as_strided(self.data[start:], (count, step), (step, 1), writeable=False)
            rows = window[:, Record.SIZE : Record.SIZE + length].copy()
            times = self.heads[start >> 3 : (start + count * step) >> 3 : step >> 3] >> np.uint64(_TIME_BITS)
            runs.setdefault(length, []).append((rows, times))
            at += count * step
        self._free(at)

    def _run(self, at: int, end: int, word: int) -> int:
        """How many records from `at` on are complete, kept and of this length; those that go on behind the end of the
        data are others."""
        stride, first = _step(word) >> 3, (at % self.size) >> 3
        count = min((end - at) // (stride << 3), ((self.size >> 3) - first) // stride)
        count = max(count, 1)
        if count < _SHORT_RUN:
            known = 1
            while known < count and self.view[first + known * stride] & 0xFFFFFFFF == word:
                known += 1
            return known
        lengths = self.heads[first : first + count * stride : stride].astype(np.uint32)
        other = lengths != word
        place = int(other.argmax())
        return place if other[place] else count

    def _free(self, at: int) -> None:
        """Clears all up to `at`, then lets writers have it: stores stay in order on x86-64."""
        if at == self.at:
            return
        start, length = self.at % self.size, at - self.at
        first = min(length, self.size - start)
        self.data[start : start + first] = 0
        self.data[: length - first] = 0
        self.at = at
        self.positions[RingState.CONSUMER // 8] = at


def _step(length: int) -> int:
    """Bytes from one record's header to the next."""
    return (length + Record.SIZE + 7) & ~7
