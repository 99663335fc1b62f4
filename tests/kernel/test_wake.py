"""Which records wake the ring's reader: in the interpreter, and in the kernel."""

from __future__ import annotations

import itertools
import select

import numpy as np
import pytest
from numpy.typing import NDArray

from bpf_interpreter import ArrayMap, Machine, RingMap
from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, Assembler, Code, Helper, RingFlags
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.wake import WAKE_BYTES, wake_flags
from gotap.kernel.bpf import Map, MapType, Program, ProgramType
from gotap.kernel.ring import Ring
from kernel_access import needs_bpf

SIZES = (256, 1024)


def _writer(size: int) -> Code:
    """Writes one record of that size as a probe does, and returns the flags that it chose."""
    asm = Assembler()
    asm.mov(R3, size)
    wake_flags(asm)
    asm.mov(R6, R4)
    asm.ld_map(R1, frame.RING)
    asm.ld_map_value(R2, "record")
    asm.call(Helper.RINGBUF_OUTPUT)
    asm.mov(R0, R6)
    asm.exit_()
    return asm.finish()


def _expected(sizes: list[int]) -> list[bool]:
    """Which of the records carry the fill over a multiple; each takes a header of 8 bytes."""
    fills = itertools.accumulate((size + 8 for size in sizes), initial=0)
    return [before // WAKE_BYTES != after // WAKE_BYTES for before, after in itertools.pairwise(fills)]


def _sizes() -> list[int]:
    return [SIZES[index % 3 == 0] for index in range(2500)]


def test_each_multiple_wakes_once() -> None:
    machine = Machine({frame.RING: RingMap(4 << 20), "record": ArrayMap(max(SIZES), 1)})
    writers = {size: _writer(size) for size in SIZES}
    flags = [machine.run(writers[size]) for size in _sizes()]
    assert [one == RingFlags.FORCE_WAKEUP for one in flags] == _expected(_sizes())
    assert set(flags) == {RingFlags.FORCE_WAKEUP, RingFlags.NO_WAKEUP}
    assert flags.count(RingFlags.FORCE_WAKEUP) == 2


@pytest.mark.root
@needs_bpf
def test_the_kernel_wakes_the_reader_when_much_waits_and_not_before() -> None:
    with Ring.create(4 << 20) as ring, Map.create(MapType.ARRAY, 4, max(SIZES), 1, name="record") as record:
        fds = {frame.RING: ring.fd, "record": record.fd}
        poll = select.poll()
        poll.register(ring, select.POLLIN)
        with Program.load(_writer(256).bytes(fds), ProgramType.SOCKET_FILTER) as writer:
            for _ in range(2):
                count = 0
                while ring.waiting() + 264 < WAKE_BYTES:
                    writer.test_run(bytes(64))
                    count += 1
                assert not poll.poll(0), "a waiting record alone wakes nobody"
                writer.test_run(bytes(64))
                assert poll.poll(10_000)
                assert poll.poll(0), "it stays so until the ring is read"
                assert sum(len(rows) for rows in ring.read()) == count + 1
                assert not poll.poll(0)


@pytest.mark.root
@needs_bpf
def test_a_record_that_wakes_the_reader_while_it_reads_does_not_wake_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a session would look again and again, until its timer, at a ring in which nothing waits."""
    with Ring.create(4 << 20) as ring, Map.create(MapType.ARRAY, 4, max(SIZES), 1, name="record") as record:
        fds = {frame.RING: ring.fd, "record": record.fd}
        poll = select.poll()
        poll.register(ring, select.POLLIN)
        with Program.load(_writer(256).bytes(fds), ProgramType.SOCKET_FILTER) as writer:
            while ring.waiting() + 264 < WAKE_BYTES:
                writer.test_run(bytes(64))
            copy = ring._copy_run

            def slow(at: int, length: int, count: int) -> NDArray[np.uint8]:
                if not poll.poll(0):
                    writer.test_run(bytes(64))
                    assert poll.poll(10_000)
                return copy(at, length, count)

            monkeypatch.setattr(ring, "_copy_run", slow)
            ring.read()
            assert ring.waiting() == 264
            assert not poll.poll(0)
