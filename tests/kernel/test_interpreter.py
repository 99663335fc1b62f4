"""The interpreter against the kernel: the same random programs, run by both, must leave the same registers."""

from __future__ import annotations

import random
import struct

import pytest

from bpf_interpreter import ArrayMap, Fault, HashMap, Machine, PerCpuHashMap, RingMap, UserMemory
from bpf_samples import IMAGE, INTERESTING, WORK, random_program, signed_extensions
from gotap.bpf import isa
from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R7, R9, R10, Assembler, Code, Helper
from gotap.kernel.bpf import Map, MapType, Program, ProgramType
from kernel_access import needs_bpf


@pytest.mark.root
@needs_bpf
def test_agrees_with_the_kernel_on_random_programs() -> None:
    with Map.create(MapType.ARRAY, 4, IMAGE, 1, name="registers") as registers:
        for seed in range(400):
            rng = random.Random(seed)
            image = struct.pack(f"<{len(WORK)}Q", *(
                rng.choice(INTERESTING) if rng.random() < 0.7 else rng.getrandbits(64) for _ in WORK))
            code = random_program(seed)
            registers.update(bytes(4), image)
            with Program.load(code.bytes({"registers": registers.fd}), ProgramType.SOCKET_FILTER, "random") as program:
                kernel_result = program.test_run(bytes(64))
            kernel_image = registers.lookup(bytes(4))

            emulated = ArrayMap(IMAGE, 1)
            emulated.update(bytes(4), image, 0, 0)
            result = Machine({"registers": emulated}).run(code)
            assert kernel_image is not None
            assert struct.unpack("<8Q", emulated.values[bytes(4)]) == struct.unpack("<8Q", kernel_image), seed
            assert result & 0xFFFFFFFF == kernel_result, seed


@pytest.mark.root
@needs_bpf
def test_agrees_with_the_kernel_on_signed_instructions() -> None:
    code, size = signed_extensions(), 1024
    with Map.create(MapType.ARRAY, 4, size, 1) as registers:
        with Program.load(code.bytes({"registers": registers.fd}), ProgramType.SOCKET_FILTER) as program:
            slots = program.test_run(bytes(64))
        emulated = ArrayMap(size, 1)
        assert Machine({"registers": emulated}).run(code) == slots
        assert registers.lookup(bytes(4)) == bytes(emulated.values[bytes(4)])


def hash_map_program() -> Code:
    """Every way a hash map answers; the results in the order of the calls go into the map `results`."""
    asm = Assembler()
    asm.ld_map_value(R9, "results")
    slot = 0

    def call(helper: Helper, key: int, value: int = 0, flags: int = 0) -> None:
        nonlocal slot
        asm.store(R10, -4, key, 4)
        asm.store(R10, -16, value)
        asm.ld_map(R1, "hash")
        asm.mov(R2, R10)
        asm.add(R2, -4)
        if helper is Helper.MAP_UPDATE:
            asm.mov(R3, R10)
            asm.add(R3, -16)
            asm.mov(R4, flags)
        asm.call(helper)
        if helper is Helper.MAP_LOOKUP:
            missing = asm.new_label()
            asm.jeq(R0, 0, missing)
            asm.load(R0, R0)
            asm.label(missing)
        asm.store(R9, slot, R0)
        slot += 8

    call(Helper.MAP_LOOKUP, 1)
    call(Helper.MAP_DELETE, 1)
    call(Helper.MAP_UPDATE, 1, 11, 2)  # not there: ENOENT
    call(Helper.MAP_UPDATE, 1, 11, 1)
    call(Helper.MAP_UPDATE, 1, 12, 1)  # there: EEXIST
    call(Helper.MAP_LOOKUP, 1)
    call(Helper.MAP_UPDATE, 1, 13, 2)
    call(Helper.MAP_LOOKUP, 1)
    call(Helper.MAP_UPDATE, 2, 22)
    call(Helper.MAP_UPDATE, 3, 33)  # full: E2BIG
    call(Helper.MAP_DELETE, 1)
    call(Helper.MAP_LOOKUP, 1)
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()


@pytest.mark.root
@needs_bpf
@pytest.mark.parametrize(("kind", "emulated"), [(MapType.HASH, HashMap), (MapType.PERCPU_HASH, PerCpuHashMap)])
def test_hash_maps_answer_as_the_kernels(kind: MapType, emulated: type[HashMap] | type[PerCpuHashMap]) -> None:
    code = hash_map_program()
    with Map.create(kind, 4, 8, 2) as hashes, Map.create(MapType.ARRAY, 4, 128, 1) as results:
        with Program.load(code.bytes({"hash": hashes.fd, "results": results.fd}), ProgramType.SOCKET_FILTER) as program:
            program.test_run(bytes(64))
        kernel = results.lookup(bytes(4))
    ours = ArrayMap(128, 1)
    Machine({"hash": emulated(4, 8, 2), "results": ours}).run(code)
    assert kernel is not None
    assert struct.unpack("<16q", ours.values[bytes(4)]) == struct.unpack("<16q", kernel)


def _assemble(build: object) -> Code:
    asm = Assembler()
    build(asm)  # type: ignore[operator]
    asm.exit_()
    return asm.finish()


def test_reads_the_probed_process_and_its_registers() -> None:
    asm = Assembler()
    asm.load(R3, R1, isa.PT_REGS["rax"])
    asm.mov(R1, R10)
    asm.add(R1, -16)
    asm.mov(R2, 16)
    asm.call(Helper.PROBE_READ_USER)
    asm.mov(R6, R0)
    asm.ld_map(R1, "ring")
    asm.mov(R2, R10)
    asm.add(R2, -16)
    asm.mov(R3, 16)
    asm.mov(R4, 0)
    asm.call(Helper.RINGBUF_OUTPUT)
    asm.mov(R0, R6)
    asm.exit_()
    code = asm.finish()
    memory = UserMemory({0xC000000000: b"0123456789", 0xC00000000A: b"abcdef"})
    machine = Machine({"ring": RingMap(4096)}, memory=memory)
    assert machine.run(code, {"rax": 0xC000000000}) == 0
    assert machine.ring == [b"0123456789abcdef"]
    assert machine.run(code, {"rax": 0xC000000008}) == -14 & (1 << 64) - 1
    assert machine.ring[1] == bytes(16), "a fault zeroes the whole buffer"


def test_reservations_and_a_full_ring() -> None:
    asm = Assembler()
    asm.ld_map(R1, "ring")
    asm.mov(R2, 24)
    asm.mov(R3, 0)
    asm.call(Helper.RINGBUF_RESERVE)
    asm.jeq(R0, 0, "full")
    asm.store(R0, 16, 7)
    asm.mov(R1, R0)
    asm.mov(R2, 0)
    asm.call(Helper.RINGBUF_SUBMIT)
    asm.mov(R0, 1)
    asm.exit_()
    asm.label("full")
    asm.mov(R0, 0)
    asm.exit_()
    code = asm.finish()
    ring = RingMap(64)
    machine = Machine({"ring": ring})
    assert [machine.run(code) for _ in range(3)] == [1, 1, 0]
    assert ring.drain() == [bytes(16) + struct.pack("<Q", 7)] * 2
    assert ring.dropped == 1
    assert machine.run(code) == 1


def test_loops_and_subprograms() -> None:
    asm = Assembler()
    asm.store(R10, -8, 0)
    asm.mov(R1, 100)
    asm.ld_func(R2, "body")
    asm.mov(R3, R10)
    asm.add(R3, -8)
    asm.mov(R4, 0)
    asm.call(Helper.LOOP)
    asm.mov(R1, R0)
    asm.load(R2, R10, -8)
    asm.call_subprogram("combine")
    asm.exit_()
    asm.label("body")  # sums the indexes, stops after index 9
    asm.load(R3, R2)
    asm.add(R3, R1)
    asm.store(R2, 0, R3)
    asm.mov(R0, 0)
    asm.jlt(R1, 9, "go on")
    asm.mov(R0, 1)
    asm.label("go on")
    asm.exit_()
    asm.label("combine")
    asm.mov(R0, R1)
    asm.mul(R0, 1000)
    asm.add(R0, R2)
    asm.exit_()
    assert Machine().run(asm.finish()) == 10 * 1000 + 45


@pytest.mark.parametrize(("build", "message"), [
    (lambda asm: asm.mov(R0, R7), "R7 is read and was never set"),
    (lambda asm: asm.load(R0, R10, -8), "was never written"),
    (lambda asm: asm.store(R10, -520, 0), "not a pointer"),
    (lambda asm: asm.store(R10, -12, 0), "misaligned"),
    (lambda asm: asm.load(R0, R1, isa.PT_REGS_SIZE), "context has 168 bytes"),
    (lambda asm: asm.store(R1, 0, 0), "read-only"),
    (lambda asm: (asm.label("again"), asm.jump("again")), "did not end"),
    (lambda asm: (asm.call(Helper.KTIME_GET_NS), asm.mov(R0, R1)), "R1 is read and was never set"),
    (lambda asm: (asm.ld_map_value(R1, "array", 8), asm.load(R0, R1)), "outside the value"),
    (lambda asm: (asm.ld_map_value(R1, "array"), asm.load(R0, R1, 4)), "has 8 bytes"),
    (lambda asm: (asm.ld_imm64(R1, 0xC000000000), asm.load(R0, R1)), "not a pointer"),
    (lambda asm: (asm.ld_map(R1, "ring"), asm.mov(R2, 8), asm.mov(R3, 0), asm.call(Helper.RINGBUF_RESERVE)),
     "neither submitted nor discarded"),
])  # fmt: skip
def test_refuses_what_the_verifier_refuses(build: object, message: str) -> None:
    machine = Machine({"array": ArrayMap(8, 1), "ring": RingMap(4096)}, limit=1000)
    with pytest.raises(Fault, match=message):
        machine.run(_assemble(build))
