"""A region of the in-process machine in the test's own process, which plays both parts: gotap's, and the target's with
threads that each have a slot."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from gotap.bpf.isa import Helper
from gotap.inject.machine.helpers import HelperCode, build_helpers
from gotap.inject.machine.host import Executable, Host
from gotap.inject.machine.layout import STRIPES, Header, Slot
from gotap.inject.machine.region import Region
from gotap.inject.machine.routines import host_call
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import RAX

_CALL = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_uint64] * 6)


@contextlib.contextmanager
def host(size: int = 1 << 26, slots: int = 16) -> Iterator[Host]:
    """gotap's half."""
    fd = os.memfd_create("gotap-test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        with Region.create(fd, size=size, slots=slots) as region, Host(region) as made:
            region.address = region.here
            yield made
    finally:
        os.close(fd)


class Target:
    """The target's half: helpers for it, and calls on the slots of its threads."""

    def __init__(self, host: Host) -> None:
        self.region = region = host.region
        slots = region.read_u64(Header.SLOTS)
        self._code = Executable(1 << 16)
        self.helpers: HelperCode = build_helpers(self._code.address, region.here, slots=slots)
        self._code.fill(self.helpers.code)
        self._stubs: list[tuple[Executable, Callable[..., int]]] = []
        for number in range(region.read_u32(Header.SLOT_COUNT)):
            memory = Executable(256)
            a = Assembler(memory.address)
            host_call(a, region.slot_address(number, region.here))
            memory.fill(a.finish())
            self._stubs.append((memory, _CALL(a.address("host.call"))))
            if number:
                region.write_u32(region.read_u64(Header.SLOTS) + number * Slot.SIZE + Slot.STRIPE, number % STRIPES)

    def call(self, slot: int, routine: Helper | int, *arguments: int) -> int:
        """As if a program of that thread called the helper, or the code at an address; the result is signed."""
        address = self.helpers.addresses[routine] if isinstance(routine, Helper) else routine
        result: int = self._stubs[slot][1](*arguments, *(0,) * (5 - len(arguments)), address)
        return result

    def assembled(self, write: Callable[[Assembler], None]) -> Executable:
        """A routine, to be called by its address; the caller keeps it."""
        memory = Executable(1 << 14)
        a = Assembler(memory.address)
        write(a)
        memory.fill(a.finish())
        return memory

    def helper(self, a: Assembler, helper: Helper) -> None:
        """Writes a call."""
        a.mov(RAX, self.helpers.addresses[helper])
        a.call(RAX)

    def close(self) -> None:
        for memory, _ in self._stubs:
            memory.close()
        self._code.close()


@contextlib.contextmanager
def target(host: Host) -> Iterator[Target]:
    made = Target(host)
    try:
        yield made
    finally:
        made.close()


def at_once(calls: Sequence[Callable[[], object]]) -> None:
    """Runs each in a thread of its own, side by side: machine code runs without Python's lock. Raises what they
    raise."""
    failed: list[BaseException] = []
    ready = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        ready.wait()
        try:
            call()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


class Bytes:
    """Memory with an address."""

    def __init__(self, content: bytes | int) -> None:
        self.buffer = ctypes.create_string_buffer(content, len(content)) if isinstance(content, bytes) else (
            ctypes.create_string_buffer(content))  # fmt: skip
        self.address = ctypes.addressof(self.buffer)

    @property
    def raw(self) -> bytes:
        return self.buffer.raw
