"""The ring's reader: against a hand-made ring (every bit set as the kernel would), and against the kernel's."""

from __future__ import annotations

import mmap
import os
import random
import struct
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R10, Assembler, Helper, RingFlags
from gotap.kernel.bpf import Map, MapType, Program, ProgramType
from gotap.kernel.ring import BUSY, DISCARDED, Ring
from kernel_access import needs_bpf

PAGE = mmap.PAGESIZE


class HandMade:
    """A ring in a memory file, laid out as kernel/bpf/ringbuf.c does; data is written twice, not mapped twice."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * size)
        self.memory = mmap.mmap(self.fd, 2 * PAGE + 2 * size)
        self.produced = 0
        self.ring = Ring(Map(self.fd, MapType.RINGBUF, 0, 0, size, "hand-made"))

    @property
    def consumed(self) -> int:
        value: int = struct.unpack_from("<Q", self.memory, 0)[0]
        return value

    def _put(self, position: int, data: bytes) -> None:
        for index, byte in enumerate(data):
            at = (position + index) % self.size
            for copy in (at, at + self.size):
                self.memory[2 * PAGE + copy] = byte

    def head(self, position: int, word: int) -> None:
        self._put(position, struct.pack("<II", word, 0))

    def push(self, data: bytes, bits: int = 0) -> int:
        """Returns the record's position."""
        position, room = self.produced, (len(data) + 15) // 8 * 8
        assert position + room - self.consumed <= self.size, "the ring is full"
        self.head(position, len(data) | bits)
        self._put(position + 8, data)
        self.produced += room
        struct.pack_into("<Q", self.memory, PAGE, self.produced)
        return position

    def close(self) -> None:
        self.ring.close()
        self.memory.close()


@pytest.fixture
def hand_made() -> Iterator[HandMade]:
    made = HandMade(4 * PAGE)
    yield made
    made.close()


def _texts(arrays: list[np.ndarray]) -> dict[int, list[bytes]]:
    return {array.shape[1]: [row.tobytes() for row in array] for array in arrays}


def test_groups_records_by_length_in_order(hand_made: HandMade) -> None:
    for data in (b"a" * 8, b"b" * 16, b"c" * 8, b"d" * 13):
        hand_made.push(data)
    assert _texts(hand_made.ring.read()) == {8: [b"a" * 8, b"c" * 8], 16: [b"b" * 16], 13: [b"d" * 13]}
    assert hand_made.consumed == hand_made.produced
    assert hand_made.ring.read() == []


def test_stops_at_a_record_that_is_being_written(hand_made: HandMade) -> None:
    hand_made.push(b"before!!")
    busy = hand_made.push(b"writing!", BUSY)
    hand_made.push(b"after!!!")
    assert _texts(hand_made.ring.read()) == {8: [b"before!!"]}
    assert hand_made.consumed == busy
    assert hand_made.ring.waiting() == 32
    assert not hand_made.ring.wait(0), "nothing can be read yet"
    assert hand_made.ring.read() == []
    hand_made.head(busy, 8)
    assert hand_made.ring.wait(0)
    assert _texts(hand_made.ring.read()) == {8: [b"writing!", b"after!!!"]}


def test_skips_what_was_discarded(hand_made: HandMade) -> None:
    hand_made.push(b"x" * 24, DISCARDED)
    hand_made.push(b"kept 001")
    hand_made.push(b"y" * 3, DISCARDED)
    assert _texts(hand_made.ring.read()) == {8: [b"kept 001"]}
    assert hand_made.consumed == hand_made.produced


def test_copies_survive_what_the_kernel_writes_next(hand_made: HandMade) -> None:
    for number in range(40):
        hand_made.push(struct.pack("<Q", number))
    (first,) = hand_made.ring.read()
    for _ in range(1000):
        hand_made.push(bytes(8))
        hand_made.ring.read()
    assert first.view(np.uint64)[:, 0].tolist() == list(range(40))


@pytest.mark.parametrize("seed", range(12))
def test_any_mixture_comes_out_as_it_went_in(hand_made: HandMade, seed: int) -> None:
    """Long and short runs, busy ones finished later, discarded ones, many times around the ring."""
    rng = random.Random(seed)
    expected: dict[int, list[bytes]] = {}
    got: dict[int, list[bytes]] = {}
    sent: list[bytes] = []
    placed: list[tuple[int, bytes]] = []
    unfinished: list[tuple[int, int]] = []

    def read() -> None:
        for rows, places in hand_made.ring.read_placed():
            texts = [row.tobytes() for row in rows]
            got.setdefault(rows.shape[1], []).extend(texts)
            placed.extend(zip(places.tolist(), texts, strict=True))

    lengths = rng.choice([(24,), (24, 56), (0, 1, 8, 24, 100)])
    for _ in range(150):
        length = rng.choice(lengths)
        for _ in range(rng.choice((1, 1, 2, 15, 16, 17, 40))):
            if hand_made.produced - hand_made.consumed + length + 16 > hand_made.size:
                break
            data = rng.randbytes(length)
            kind = rng.random()
            if kind < 0.02:
                hand_made.push(data, DISCARDED)
                continue
            expected.setdefault(length, []).append(data)
            sent.append(data)
            if kind < 0.04:
                unfinished.append((hand_made.push(data, BUSY), length))
            else:
                hand_made.push(data)
        read()
        while unfinished and rng.random() < 0.6:
            hand_made.head(*unfinished.pop(0))
    for position, length in unfinished:
        hand_made.head(position, length)
    read()
    assert got == expected
    assert [data for _, data in sorted(placed)] == sent


def test_refuses_a_map_that_is_no_ring() -> None:
    with pytest.raises(ValueError, match="not a ring buffer"):
        Ring(Map(-1, MapType.HASH, 8, 8, 1, "rows"))


def _writer(ring: Ring, state: Map, lengths: tuple[int, ...], flags: RingFlags) -> Program:
    """Writes one record of each length, each starting with a running number from `state`; counts what did not fit."""
    asm = Assembler()
    asm.ld_map_value(R6, "state")
    for length in lengths:
        lost = asm.new_label()
        asm.ld_map(R1, "ring")
        asm.mov(R2, length)
        asm.mov(R3, 0)
        asm.call(Helper.RINGBUF_RESERVE)
        asm.jeq(R0, 0, lost)
        asm.load(R1, R6)
        asm.store(R0, 0, R1)
        asm.add(R1, 1)
        asm.store(R6, 0, R1)
        asm.mov(R1, R0)
        asm.mov(R2, int(flags))
        asm.call(Helper.RINGBUF_SUBMIT)
        done = asm.new_label()
        asm.jump(done)
        asm.label(lost)
        asm.load(R1, R6, 8)
        asm.add(R1, 1)
        asm.store(R6, 8, R1)
        asm.label(done)
    asm.mov(R0, 0)
    asm.exit_()
    code = asm.finish()
    return Program.load(code.bytes({"ring": ring.fd, "state": state.fd}), ProgramType.SOCKET_FILTER, "writer")


@pytest.fixture
def state() -> Iterator[Map]:
    with Map.create(MapType.ARRAY, 4, 16, 1, name="state") as made:
        yield made


@pytest.mark.root
@needs_bpf
@pytest.mark.parametrize("lengths", [(256,), (256, 1024, 256), (8, 12, 512)])
def test_reads_the_kernels_ring_many_times_around(state: Map, lengths: tuple[int, ...]) -> None:
    seen: list[int] = []
    with Ring.create(4 * PAGE) as ring, _writer(ring, state, lengths, RingFlags.NO_WAKEUP) as writer:
        for turn in range(200):
            for _ in range(turn % 9 + 1):
                writer.test_run(bytes(64))
            numbers = [int(n) for rows in ring.read() for n in rows[:, :8].copy().view(np.uint64)[:, 0]]
            seen += sorted(numbers)
    assert seen == list(range(len(seen)))
    assert len(seen) == len(lengths) * sum(turn % 9 + 1 for turn in range(200))


@pytest.mark.root
@needs_bpf
def test_a_full_ring_refuses_and_goes_on_after_a_read(state: Map) -> None:
    with Ring.create(PAGE) as ring, _writer(ring, state, (256,), RingFlags.NO_WAKEUP) as writer:
        for _ in range(20):
            writer.test_run(bytes(64))
        fits = PAGE // 264
        assert struct.unpack("<QQ", state.lookup(bytes(4)) or b"") == (fits, 20 - fits)
        assert [rows.shape for rows in ring.read()] == [(fits, 256)]
        writer.test_run(bytes(64))
        assert [rows.shape for rows in ring.read()] == [(1, 256)]


@pytest.mark.root
@needs_bpf
def test_wait_ends_when_a_record_comes(state: Map) -> None:
    with Ring.create(PAGE) as ring, _writer(ring, state, (64,), RingFlags.ADAPTIVE) as writer:
        assert not ring.wait(0)
        woken = threading.Event()

        def wait() -> None:
            if ring.wait(30):
                woken.set()

        thread = threading.Thread(target=wait)
        thread.start()
        writer.test_run(bytes(64))
        thread.join(30)
        assert woken.is_set()
        assert ring.wait(0), "and says so until it is read"
        ring.read()
        assert not ring.wait(0)


@pytest.mark.root
@needs_bpf
def test_output_of_a_stack_buffer_and_kernel_memory(state: Map) -> None:
    asm = Assembler()
    asm.store(R10, -8, 0x11223344)
    asm.ld_map(R1, "ring")
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.mov(R3, 8)
    asm.mov(R4, 0)
    asm.call(Helper.RINGBUF_OUTPUT)
    asm.exit_()
    with Ring.create(16 * PAGE) as ring:
        with Program.load(asm.finish().bytes({"ring": ring.fd}), ProgramType.SOCKET_FILTER) as program:
            assert program.test_run(bytes(64)) == 0
        (rows,) = ring.read()
        assert rows.tobytes() == struct.pack("<Q", 0x11223344)
        assert 16 * PAGE <= ring.memory() <= 24 * PAGE, "the double mapping is not paid twice"
