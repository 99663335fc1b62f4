"""Maps of the in-process machine while several threads use them at once, each from its own slot, in machine code."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from gotap.bpf.enums import MapType
from gotap.bpf.isa import Helper
from gotap.inject.machine.host import Executable, Host
from gotap.inject.machine.layout import Slot
from gotap.inject.machine.maps import HookMap
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import ECX, R12, R13, R14, R15, RAX, RBX, RCX, RDI, RDX, RSI, mem, qword
from hook_region import Target, at_once, target
from hook_region import host as region_host

THREADS = 4
ROUNDS = 60_000
#: Keys that nobody deletes.
STAY = 100

#: What loops keep in the slot, behind its helpers' own: key, value, counts of what went wrong.
KEY, VALUE, WRONG = Slot.STACK_END, Slot.STACK_END + 0x40, Slot.STACK_END + 0x100


@pytest.fixture
def host() -> Iterator[Host]:
    with region_host(1 << 27) as made:
        yield made


@pytest.fixture
def program(host: Host) -> Iterator[Target]:
    with target(host) as made:
        yield made


def word(target: Target, slot: int, offset: int) -> int:
    return target.region.read_u64(target.region.slot_address(slot, 0) + offset)


def churn(program: Target) -> Callable[[Assembler], None]:
    """(RDI map, RSI thread, RDX rounds): four keys of its own in, found, out and not found; WRONG counts."""

    def write(a: Assembler) -> None:
        a.mov(R13, RDI)
        a.mov(R14, RSI)
        a.mov(R15, RDX)
        a.label("round")
        for step in ("update", "lookup", "delete", "gone"):
            a.mov(RBX, 4)
            a.label(step)
            a.mov(mem(R12, KEY), R14)
            a.lea(RAX, mem(RBX, 0, R15, 8))
            a.mov(mem(R12, KEY + 8), RAX)
            a.mov(RDI, R13)
            a.lea(RSI, mem(R12, KEY))
            if step == "update":
                for offset in range(0, 48, 8):
                    a.mov(mem(R12, VALUE + offset), RAX)
                a.lea(RDX, mem(R12, VALUE))
                a.mov(RCX, 1)
                program.helper(a, Helper.MAP_UPDATE)
                wrong(a, step)
            elif step == "lookup":
                program.helper(a, Helper.MAP_LOOKUP)
                a.test(RAX, RAX)
                a.je("lost")
                a.mov(RCX, mem(R12, KEY + 8))
                for offset in range(0, 48, 8):
                    a.cmp(mem(RAX, offset), RCX)
                    a.jne("lost")
                a.jmp("found")
                a.label("lost")
                a.inc(qword(R12, WRONG))
                a.label("found")
            elif step == "delete":
                program.helper(a, Helper.MAP_DELETE)
                wrong(a, step)
            else:
                program.helper(a, Helper.MAP_LOOKUP)
                wrong(a, step)
            a.dec(RBX)
            a.jne(step)
        a.dec(R15)
        a.jne("round")
        a.ret()

    def wrong(a: Assembler, name: str) -> None:
        a.cmp(RAX, -errno.EBUSY)
        a.je(name)
        a.test(RAX, RAX)
        a.je(f"{name}.right")
        a.inc(qword(R12, WRONG))
        a.label(f"{name}.right")

    return write


def test_own_keys_come_and_go(host: Host, program: Target) -> None:
    """Every thread inserts, finds and deletes keys of its own, a few at a time, in lists that all share: each of its
    operations must succeed, with its own value, except that one may find a bucket locked for too long: once more then.
    """
    map = HookMap(host, MapType.HASH, 16, 48, 64, "test")  # 64 buckets

    with at(program.assembled(churn(program))) as routine:
        at_once([partial(program.call, slot, routine, map.descriptor, slot, ROUNDS) for slot in range(1, 1 + THREADS)])
    assert [word(program, slot, WRONG) for slot in range(1, 1 + THREADS)] == [0] * THREADS
    assert not list(map.keys())
    for number in range(64):  # all elements are there again
        assert map.update(struct.pack("<QQ", 0, number), bytes(48))


def test_first_of_many_wins(host: Host, program: Target) -> None:
    """All threads insert the same keys, NOEXIST, and count in the value they find: none is there twice, no count
    lost."""
    map = HookMap(host, MapType.HASH, 8, 16, 10_000, "test")

    def race(a: Assembler) -> None:
        """(RDI map, RSI thread, RDX keys): WRONG = how many it inserted."""
        a.mov(R13, RDI)
        a.mov(R15, RDX)
        a.label("round")
        a.mov(mem(R12, KEY), R15)
        a.mov(qword(R12, VALUE), 0)
        a.mov(qword(R12, VALUE + 8), 0)
        a.mov(RDI, R13)
        a.lea(RSI, mem(R12, KEY))
        a.lea(RDX, mem(R12, VALUE))
        a.mov(RCX, 1)
        program.helper(a, Helper.MAP_UPDATE)
        a.cmp(RAX, -errno.EBUSY)
        a.je("round")
        a.test(RAX, RAX)
        a.jne("second")
        a.inc(qword(R12, WRONG))
        a.label("second")
        a.mov(RDI, R13)
        a.lea(RSI, mem(R12, KEY))
        program.helper(a, Helper.MAP_LOOKUP)
        a.lock().inc(qword(RAX))
        a.dec(R15)
        a.jne("round")
        a.ret()

    with at(program.assembled(race)) as routine:
        at_once([partial(program.call, slot, routine, map.descriptor, slot, 10_000) for slot in range(1, 1 + THREADS)])
    assert sum(word(program, slot, WRONG) for slot in range(1, 1 + THREADS)) == 10_000
    keys, values = map.entries()
    assert sorted(keys.view(np.uint64)[:, 0].tolist()) == list(range(1, 10_001))
    assert set(values.view(np.uint64)[:, 0].tolist()) == {THREADS}


def reading(program: Target) -> Callable[[Assembler], None]:
    """(RDI map, RSI, RDX rounds): looks at all that stays; WRONG counts."""

    def write(a: Assembler) -> None:
        a.mov(R13, RDI)
        a.mov(R15, RDX)
        a.label("round")
        a.mov(RBX, STAY)
        a.label("key")
        a.mov(mem(R12, KEY), RBX)
        a.mov(RDI, R13)
        a.lea(RSI, mem(R12, KEY))
        program.helper(a, Helper.MAP_LOOKUP)
        a.test(RAX, RAX)
        a.je("lost")
        a.cmp(mem(RAX), RBX)
        a.je("found")
        a.label("lost")
        a.inc(qword(R12, WRONG))
        a.label("found")
        a.dec(RBX)
        a.jne("key")
        a.dec(R15)
        a.jne("round")
        a.ret()

    return write


def writing(program: Target) -> Callable[[Assembler], None]:
    """(RDI map, RSI thread, RDX rounds): keys of its own, in and out."""

    def write(a: Assembler) -> None:
        a.mov(R13, RDI)
        a.mov(R14, RSI)
        a.shl(R14, 32)
        a.mov(R15, RDX)
        a.label("round")
        for deletes in (False, True):
            a.mov(RBX, 32)
            a.label(f"key{deletes}")
            a.lea(RAX, mem(R14, 0, RBX))
            a.mov(mem(R12, KEY), RAX)
            for offset in range(0, 32, 8):
                a.mov(mem(R12, VALUE + offset), RAX)
            a.mov(RDI, R13)
            a.lea(RSI, mem(R12, KEY))
            a.lea(RDX, mem(R12, VALUE))
            a.mov(ECX, 0)
            program.helper(a, Helper.MAP_DELETE if deletes else Helper.MAP_UPDATE)
            a.cmp(RAX, -errno.EBUSY)
            a.je(f"key{deletes}")
            a.dec(RBX)
            a.jne(f"key{deletes}")
        a.dec(R15)
        a.jne("round")
        a.ret()

    return write


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH])
def test_readers_find_what_stays(host: Host, program: Target, kind: MapType) -> None:
    """Keys that nobody deletes are found at every look, whole, while others come and go in the same lists and elements
    and all of them are replaced; gotap reads them too."""
    map = HookMap(host, kind, 8, 32, 4200 if kind is MapType.LRU_HASH else 512, "test")
    for number in range(1, STAY + 1):
        map.update(struct.pack("<Q", number), struct.pack("<Q", number) * 4)

    seen: list[set[bytes]] = []

    def look() -> None:
        for _ in range(30):
            keys, values = map.entries()
            assert all(key.tobytes() * 4 == value.tobytes() for key, value in zip(keys, values, strict=True))
            seen.append({key.tobytes() for key in keys})

    with at(program.assembled(reading(program))) as reader, at(program.assembled(writing(program))) as writer:
        at_once([
            *(partial(program.call, slot, reader, map.descriptor, slot, 3_000) for slot in (1, 2)),
            *(partial(program.call, slot, writer, map.descriptor, slot, 4_000) for slot in (3, 4)),
            look,
        ])  # fmt: skip
    assert [word(program, slot, WRONG) for slot in (1, 2)] == [0, 0]
    every = {struct.pack("<Q", number) for number in range(1, STAY + 1)}
    assert all(every <= keys for keys in seen)
    assert set(map.keys()) == every


class at:
    """The address of a routine, which is kept meanwhile."""

    def __init__(self, routine: Executable) -> None:
        self.routine = routine

    def __enter__(self) -> int:
        return self.routine.address

    def __exit__(self, *_: object) -> None:
        self.routine.close()
