"""Reads of the target's memory in machine code: what is there comes whole, what is not is told, nothing faults."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import signal
import threading
from collections.abc import Iterator

import pytest

from gotap.bpf.isa import Helper
from gotap.inject.machine.host import Host
from hook_region import Bytes, Target, target
from hook_region import host as region_host

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64
_libc.munmap.argtypes = _libc.mprotect.argtypes = None


@pytest.fixture
def host() -> Iterator[Host]:
    with region_host() as made:
        yield made


@pytest.fixture
def program(host: Host) -> Iterator[Target]:
    with target(host) as made:
        yield made


class Island:
    """`pages` of random bytes with an unreadable page on either side."""

    def __init__(self, pages: int) -> None:
        self.size = pages * PAGE
        self._base = _libc.mmap(None, self.size + 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE,
                                mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)  # fmt: skip
        self.address = self._base + PAGE
        self.content = random.Random(pages).randbytes(self.size)
        ctypes.memmove(self.address, self.content, self.size)
        for edge in (self._base, self.address + self.size):
            assert _libc.mprotect(ctypes.c_void_p(edge), ctypes.c_size_t(PAGE), 0) == 0

    def close(self) -> None:
        _libc.munmap(ctypes.c_void_p(self._base), ctypes.c_size_t(self.size + 2 * PAGE))


@pytest.fixture
def island() -> Iterator[Island]:
    made = Island(2)
    yield made
    made.close()


def read(program: Target, address: int, size: int) -> bytes | int:
    """What was read, or the error."""
    into = Bytes(size + 16)
    result = program.call(1, Helper.PROBE_READ_USER, into.address, size, address)
    assert into.raw[size:] == bytes(16)
    return into.raw[:size] if result == 0 else result


@pytest.mark.parametrize("known", [False, True])
def test_every_place_and_length(program: Target, island: Island, known: bool) -> None:
    """`known`: it is said to stay readable."""
    if known:
        program.region.set_readable([(island.address, island.address + island.size)])
    rng = random.Random(known)
    for _ in range(3000):
        size = rng.choice([1, 2, 4, 7, 8, 9, 16, 24, 63, 64, 65, 300])
        edge = rng.choice([0, PAGE, 2 * PAGE]) + rng.randrange(-70, 70) - rng.choice([0, size])
        expected = island.content[edge : edge + size] if 0 <= edge <= island.size - size else -errno.EFAULT
        assert read(program, island.address + edge, size) == expected


def test_addresses_that_are_none(program: Target) -> None:
    for address in (0, 1, 8, PAGE - 1, (1 << 47) - 8, 1 << 47, (1 << 64) - 8, (1 << 64) - 1, 1 << 63):
        for size in (1, 8, 300):
            assert read(program, address, size) == -errno.EFAULT


def test_nothing_is_read(program: Target) -> None:
    assert read(program, 8, 0) == b""


_FEW, _ALL = {signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM}, set(range(1, 65)) - {32, 33}


@pytest.mark.parametrize("blocked", [set(), _FEW, _ALL])
def test_blocked_signals_stay_as_they_are(program: Target, island: Island, blocked: set[int]) -> None:
    """The kernel is asked through the thread's signal mask. Where all signals are blocked nothing can be seen."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        own = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        got = [read(program, island.address + at, 24) for at in range(8, PAGE, 117)]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == own
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    expected = [island.content[at : at + 24] for at in range(8, PAGE, 117)]
    assert got == (expected if len(blocked) < 10 else [-errno.EFAULT] * len(expected))


def test_signals_that_come_meanwhile_arrive(program: Target, island: Island) -> None:
    """Each bit of each word is, for a moment, a signal that is blocked."""
    seen = []
    ctypes.memset(island.address, 0xFF, PAGE)
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    main, ended = threading.main_thread().ident, threading.Event()
    assert main is not None

    def send() -> None:
        while not ended.is_set():
            signal.pthread_kill(main, signal.SIGUSR1)

    sender = threading.Thread(target=send)
    try:
        sender.start()
        while len(seen) < 50:
            assert read(program, island.address, 8) == b"\xff" * 8
    finally:
        ended.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_memory_that_comes_and_goes(program: Target) -> None:
    """Another thread maps and unmaps what is read: it is there or it is not, and never a fault."""
    island = Island(1)
    address, ended = island.address, threading.Event()

    def flicker() -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10  # MAP_FIXED
        while not ended.is_set():
            _libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(PAGE))
            _libc.mmap(address, PAGE, mmap.PROT_READ, flags, -1, 0)

    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        results = {read(program, address + at % PAGE // 8 * 8, 8) for at in range(20_000)}
    finally:
        ended.set()
        thread.join()
    island.close()
    assert results <= {bytes(8), -errno.EFAULT, island.content[:8]} | {
        island.content[at : at + 8] for at in range(0, PAGE, 8)}  # fmt: skip


def test_texts(program: Target, island: Island) -> None:
    """Up to the zero, with it; a text that is longer than the room is cut."""
    text = b"what a hook reads\0"
    end = island.address + island.size
    for at in range(len(text), 40):
        start = end - at
        ctypes.memmove(start, text.ljust(at, b"x"), at)
        for room in (1, 5, len(text) - 1, len(text), 64):
            into = Bytes(80)
            expected = (text[: room - 1] + b"\0") if room < len(text) else text
            assert program.call(1, Helper.PROBE_READ_USER_STR, into.address, room, start) == len(expected)
            assert into.raw[: len(expected) + 1] == expected + b"\0"
    ctypes.memset(end - 20, ord("y"), 20)
    into = Bytes(80)
    assert program.call(1, Helper.PROBE_READ_USER_STR, into.address, 80, end - 20) == -errno.EFAULT
    source = Bytes(text)
    for room in (1, 5, len(text), 64):
        into, expected = Bytes(80), (text[: room - 1] + b"\0") if room < len(text) else text
        assert program.call(1, Helper.PROBE_READ_KERNEL_STR, into.address, room, source.address) == len(expected)
        assert into.raw[: len(expected)] == expected


def test_own_memory(program: Target) -> None:
    for size in (*range(70), 255, 256, 257, 4000):
        source, into = Bytes(os.urandom(size) + b"x"), Bytes(size + 8)
        assert program.call(1, Helper.PROBE_READ_KERNEL, into.address, size, source.address) == 0
        assert into.raw == source.raw[:size] + bytes(8)


def test_gotap_reads_nothing_of_itself(host: Host) -> None:
    source, into = Bytes(b"12345678"), Bytes(8)
    assert host.call(Helper.PROBE_READ_USER, into.address, 8, source.address) == -errno.EFAULT
    assert host.call(Helper.PROBE_READ_USER_STR, into.address, 8, source.address) == -errno.EFAULT
