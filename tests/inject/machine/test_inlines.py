"""What translated programs do in place of helpers, against the helpers themselves."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from functools import partial

import pytest

from gotap.bpf.asm import PT_REGS, R0, R1, R2, R3, R4, R6, R7, R10, Assembler
from gotap.bpf.code import Code
from gotap.bpf.enums import MapType
from gotap.bpf.isa import Helper
from gotap.inject.machine.host import Executable, Host
from gotap.inject.machine.inlines import inlines
from gotap.inject.machine.layout import STRIPES, Slot
from gotap.inject.machine.maps import HookMap
from gotap.inject.x86.translator import MapPlace, translate
from hook_region import Bytes, Target, target
from hook_region import host as region_host


@pytest.fixture
def host() -> Iterator[Host]:
    with region_host() as made:
        yield made


@pytest.fixture
def program(host: Host) -> Iterator[Target]:
    with target(host) as made:
        yield made


def run(program: Target, code: Code, maps: dict[str, HookMap], slot: int = 1, *, short: bool = True,
        rdx: int = 0) -> int:  # fmt: skip
    """`short`: with what is done in place. `rdx`: in the context."""
    places = {
        name: MapPlace(map.descriptor, program.region.here + map.offset + map.values, map.kind, map.max_entries,
                       map.stride) if map.is_array else MapPlace(map.descriptor, kind=map.kind)
        for name, map in maps.items()
    }  # fmt: skip
    key_sizes = {map.descriptor: map.key_size for map in maps.values()}
    inline = inlines(program.helpers, program.region.here, key_sizes) if short else None
    translated = partial(translate, code, maps=places, helpers=program.helpers.addresses, inline=inline)
    memory = Executable(len(translated(at=0)) + 4096)
    memory.fill(translated(at=memory.address))
    context = program.region.slot_address(slot, program.region.here) + Slot.CONTEXT
    struct.pack_into("<Q", program.region._map, context - program.region.here + PT_REGS["rdx"], rdx)
    try:
        return program.call(slot, memory.address, context)
    finally:
        memory.close()


def on_key(size: int, words: list[int], map: str = "map") -> Assembler:
    """R1 the map, R2 the key."""
    asm = Assembler()
    for index, word in enumerate(words[: size // 8]):
        asm.constant(R1, word)
        asm.store(R10, -size + 8 * index, R1)
    asm.ld_map(R1, map)
    asm.mov(R2, R10)
    asm.add(R2, -size)
    return asm


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH])
def test_hashes(host: Host, program: Target, kind: MapType) -> None:
    """By the short way and by the long one the same elements are meant."""
    for size in (8, 16, 24, 32, 40, 48, 56, 72):
        check_hash(host, program, size, kind)


def check_hash(host: Host, program: Target, size: int, kind: MapType) -> None:
    map, rng = HookMap(host, kind, size, 16, 64, "test"), random.Random(size)
    for number in range(4):
        words = [rng.getrandbits(63) for _ in range(size // 8)]
        key, short = struct.pack(f"<{len(words)}Q", *words), number % 2 == 0
        update = on_key(size, words)
        update.store(R10, -100 & ~7, 41 + number)
        update.store(R10, (-100 & ~7) + 8, 42)
        update.mov(R3, R10)
        update.add(R3, -100 & ~7)
        update.mov(R4, 1)
        update.call(Helper.MAP_UPDATE)
        update.exit_()
        code = update.finish()
        assert run(program, code, {"map": map}, short=short) == 0
        assert run(program, code, {"map": map}, short=not short) == -17
        look = on_key(size, words)
        look.call(Helper.MAP_LOOKUP)
        look.jeq(R0, 0, "none")
        look.load(R0, R0, 0)
        look.label("none")
        look.exit_()
        code = look.finish()
        assert run(program, code, {"map": map}, short=short) == 41 + number
        assert run(program, code, {"map": map}, short=not short) == 41 + number
        summed = map.lookup_sum(key)
        assert summed is not None
        assert summed.tolist() == [41 + number, 42]
        delete = on_key(size, words)
        delete.call(Helper.MAP_DELETE)
        delete.exit_()
        code = delete.finish()
        assert run(program, code, {"map": map}, short=short) == 0
        assert run(program, code, {"map": map}, short=not short) == -2


@pytest.mark.parametrize("key", [0, 3, 4, 9])
def test_counters_of_a_stripe(host: Host, program: Target, key: int) -> None:
    map = HookMap(host, MapType.PERCPU_ARRAY, 4, 24, 4, "test")
    asm = Assembler()
    asm.store(R10, -4, key, 4)
    asm.ld_map(R1, "map")
    asm.mov(R2, R10)
    asm.add(R2, -4)
    asm.call(Helper.MAP_LOOKUP)
    asm.jeq(R0, 0, "none")
    asm.mov(R1, 1)
    asm.atomic_add(R0, 16, R1)
    asm.mov(R0, 1)
    asm.label("none")
    asm.exit_()
    code = asm.finish()
    for slot in range(1, 1 + STRIPES):
        for short in (True, False):
            assert run(program, code, {"map": map}, slot, short=short) == (key < 4)
    for number in range(4):
        value = map.lookup(struct.pack("<I", number))
        assert value is not None
        assert struct.unpack(f"<{3 * STRIPES}Q", value)[2::3] == ((2 if number == key else 0,) * STRIPES)


@pytest.mark.parametrize("size", [1, 3, 8, 12, 24, 64, 152, 256])
def test_reads(host: Host, program: Target, size: int) -> None:
    """In the first range, at its edges, in another, nowhere."""
    map = HookMap(host, MapType.ARRAY, 4, 256, 1, "test")
    content = os.urandom(1 << 12)
    source = Bytes(content)
    asm = Assembler()
    asm.load(R3, R1, PT_REGS["rdx"])
    asm.ld_map_value(R1, "map")
    asm.mov(R2, size)
    asm.call(Helper.PROBE_READ_USER)
    asm.exit_()
    code = asm.finish()

    def check() -> None:
        for at in (0, 1, 1000, len(content) - size):
            map.update(bytes(4), bytes(256))
            assert run(program, code, {"map": map}, rdx=source.address + at) == 0
            assert map.lookup(bytes(4)) == content[at : at + size].ljust(256, b"\0")
        for address in (0, 8, (1 << 64) - size, (1 << 47) - 4):
            assert run(program, code, {"map": map}, rdx=address) == -14

    check()
    region = host.region
    first = source.address >> 26 << 26
    region.set_readable([(source.address + 8, source.address + 2000)])
    check()
    region.set_readable([(first, source.address + 1004)])
    check()
    region.set_readable([(first, source.address + len(content))])
    check()


def test_where_and_what_for(program: Target) -> None:
    asm = Assembler()
    asm.mov(R6, R1)
    asm.call(Helper.GET_SMP_PROCESSOR_ID)
    asm.mov(R7, R0)
    asm.mov(R1, R6)
    asm.call(Helper.GET_ATTACH_COOKIE)
    asm.lsh(R0, 16)
    asm.or_(R0, R7)
    asm.exit_()
    code = asm.finish()
    program.region.write_u64(program.region.slot_address(2, 0) + Slot.COOKIE, 0x1234)
    cpus = os.sched_getaffinity(0)
    try:
        for cpu in cpus:
            os.sched_setaffinity(0, {cpu})
            assert run(program, code, {}, 2) == run(program, code, {}, 2, short=False) == 0x1234 << 16 | cpu
    finally:
        os.sched_setaffinity(0, cpus)
