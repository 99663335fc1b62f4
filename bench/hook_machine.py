"""What the in-process machine's helpers cost: loops of machine code in this process, without Python in between.

    python -m bench.hook_machine

Lines: ns of one operation, the least of several runs of CPU time; the bound it should keep, where there is one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from gotap.bpf.enums import MapType
from gotap.bpf.isa import Helper
from gotap.inject.machine.host import Executable, Host
from gotap.inject.machine.layout import Descriptor, RingState, Slot
from gotap.inject.machine.maps import HookMap
from gotap.inject.machine.region import Region
from gotap.inject.machine.ring import HookRing
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import EDX, ESI, R12, R13, RAX, RBX, RCX, RDI, RDX, RSI, mem, qword

_LOOPS = 200_000

Body = Callable[[Assembler, Host], None]


def cost(host: Host, body: Body, rounds: int) -> float:
    """ns of one run of the body, which finds the number of the run in RBX and keeps RBX and R12."""
    memory = Executable(4096)
    a = Assembler(memory.address)
    a.mov(RBX, RDI)
    a.label("again")
    body(a, host)
    a.dec(RBX)
    a.jne("again")
    a.ret()
    memory.fill(a.finish())
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time_ns()
        host.call(memory.address, _LOOPS)
        best = min(best, (time.process_time_ns() - start) / _LOOPS)
    memory.close()
    return best


def call(a: Assembler, host: Host, helper: Helper) -> None:
    """As translated programs do, which know the length of a map's keys: here three words."""
    a.mov(RAX, host.helpers.hashes.get((helper, 3)) or host.helpers.addresses[helper])
    a.call(RAX)


def key(a: Assembler) -> None:
    """A row's key in the slot's stack: process and operation, goroutine, depth."""
    a.mov(RAX, 0x100000001)
    a.mov(mem(R12, Slot.STACK_END), RAX)
    a.mov(mem(R12, Slot.STACK_END + 8), RBX)
    a.mov(qword(R12, Slot.STACK_END + 16), 0x150)
    a.lea(RSI, mem(R12, Slot.STACK_END))


def nothing(a: Assembler, host: Host) -> None:
    key(a)


def update(made: HookMap) -> Body:
    def body(a: Assembler, host: Host) -> None:
        key(a)
        a.mov(RDI, made.here)
        a.lea(RDX, mem(R12, Slot.STACK_END + 32))
        a.mov(RCX, 0)
        call(a, host, Helper.MAP_UPDATE)

    return body


def on_key(made: HookMap, helper: Helper) -> Body:
    def body(a: Assembler, host: Host) -> None:
        key(a)
        a.mov(RDI, made.here)
        call(a, host, helper)

    return body


def all_of(*bodies: Body) -> Body:
    def body(a: Assembler, host: Host) -> None:
        for each in bodies:
            each(a, host)

    return body


def output(ring: HookRing, size: int) -> Body:
    """One record; the reader's part, to clear it and to move its position, is done here for the room it takes."""

    def body(a: Assembler, host: Host) -> None:
        a.mov(RDI, ring.map.here)
        a.lea(RSI, mem(R12, Slot.STACK_END))
        a.mov(EDX, size)
        a.mov(RCX, 1)
        call(a, host, Helper.RINGBUF_OUTPUT)
        a.mov(R13, ring.map.here)
        a.add(R13, mem(R13, Descriptor.STATE))
        a.mov(RAX, mem(R13, RingState.PRODUCER))
        a.mov(mem(R13, RingState.CONSUMER), RAX)

    return body


def reserve(ring: HookRing, words: int) -> Body:
    def body(a: Assembler, host: Host) -> None:
        a.mov(RDI, ring.map.here)
        a.mov(ESI, 8 * words)
        a.mov(EDX, 0)
        call(a, host, Helper.RINGBUF_RESERVE)
        for word in range(words):
            a.mov(mem(RAX, 8 * word), RBX)
        a.mov(RDI, RAX)
        a.mov(ESI, 1)
        call(a, host, Helper.RINGBUF_SUBMIT)
        a.mov(R13, ring.map.here)
        a.add(R13, mem(R13, Descriptor.STATE))
        a.mov(RAX, mem(R13, RingState.PRODUCER))
        a.mov(mem(R13, RingState.CONSUMER), RAX)

    return body


def simple(helper: Helper) -> Body:
    return lambda a, host: call(a, host, helper)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    fd = os.memfd_create("bench", os.MFD_ALLOW_SEALING)
    with Region.create(fd, size=1 << 28) as region, Host(region) as host:

        small = HookMap(host, MapType.HASH, 24, 64, 65536, "small")
        row = HookMap(host, MapType.HASH, 24, 1568, 16384, "rows")
        ring = HookRing(host, 1 << 20)
        region.write_u32(region.slot_address(0, 0) + Slot.STRIPE, 0)  # the ring whose reader `output` plays
        base = cost(host, nothing, rounds)
        lines: list[tuple[str, Body, float, int]] = [
            ("insert + lookup + delete, 64 bytes", all_of(
                update(small), on_key(small, Helper.MAP_LOOKUP), on_key(small, Helper.MAP_DELETE)), 3 * base, 20),
            ("insert + lookup + delete, 1568 bytes", all_of(
                update(row), on_key(row, Helper.MAP_LOOKUP), on_key(row, Helper.MAP_DELETE)), 3 * base, 0),
            ("lookup of what is not there", on_key(small, Helper.MAP_LOOKUP), base, 0),
            ("record of 2 words, reserved", reserve(ring, 2), 0, 25),
            ("record of 2 words, copied", output(ring, 16), 0, 25),
            ("record of 192 bytes, copied", output(ring, 192), 0, 0),
            ("clock", simple(Helper.KTIME_GET_NS), 0, 0),
            ("CPU", simple(Helper.GET_SMP_PROCESSOR_ID), 0, 0),
            ("random number", simple(Helper.GET_PRANDOM_U32), 0, 0),
            ("thread id", simple(Helper.GET_CURRENT_PID_TGID), 0, 0),
        ]  # fmt: skip
        print(f"{'(loop and key)':<40} {base:7.1f} ns")
        for name, body, less, bound in lines:
            took = cost(host, body, rounds) - less
            told = "" if not bound else f"  bound {bound} ns: {'met' if took <= bound else 'not met'}"
            print(f"{name:<40} {took:7.1f} ns{told}")

        ring.close()
    os.close(fd)


if __name__ == "__main__":
    main()
