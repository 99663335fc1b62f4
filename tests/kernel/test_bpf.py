"""Maps and programs of the running kernel."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R10, Assembler, Code, Helper
from gotap.kernel import bpf, syscalls
from gotap.kernel.bpf import Map, MapType, Program, ProgramType, Update, enable_stats
from gotap.kernel.errors import BpfDeniedError, BpfMissingError, MapError, VerifierError
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]


@pytest.fixture
def hashes() -> Iterator[Map]:
    with Map.create(MapType.HASH, 4, 8, 1000, name="hashes") as made:
        yield made


def _key(number: int) -> bytes:
    return struct.pack("<I", number)


def test_elements(hashes: Map) -> None:
    assert hashes.lookup(_key(1)) is None
    assert hashes.update(_key(1), b"first...")
    assert hashes.lookup(_key(1)) == b"first..."
    assert not hashes.update(_key(1), b"again...", Update.NOEXIST)
    assert not hashes.update(_key(2), b"nothing.", Update.EXIST)
    assert hashes.delete(_key(1))
    assert not hashes.delete(_key(1))
    with pytest.raises(ValueError, match="key of 3 bytes"):
        hashes.lookup(b"abc")
    with pytest.raises(ValueError, match="value of 1 bytes"):
        hashes.update(_key(1), b"x")


def test_all_elements_in_batches_and_one_by_one(hashes: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {_key(n): struct.pack("<Q", n * n) for n in range(900)}
    assert list(hashes.items()) == []
    for key, value in expected.items():
        hashes.update(key, value)
    assert dict(hashes.items()) == expected
    assert set(hashes.keys()) == set(expected)
    monkeypatch.setattr(bpf, "_BATCH", 1)  # smaller than a bucket's content: the kernel answers ENOSPC
    assert dict(hashes.items()) == expected

    def no_batches(*_: object) -> None:
        raise OSError(22, "as before Linux 5.6")

    monkeypatch.setattr(syscalls, "map_lookup_batch", no_batches)
    assert dict(hashes.items()) == expected


def test_a_full_map_says_so(hashes: Map) -> None:
    with Map.create(MapType.HASH, 4, 8, 1, name="tiny") as tiny:
        tiny.update(_key(1), bytes(8))
        with pytest.raises(MapError, match="tiny: it is full"):
            tiny.update(_key(2), bytes(8))


@pytest.mark.parametrize("kind", [MapType.PERCPU_ARRAY, MapType.PERCPU_HASH])
def test_per_cpu_values_are_summed(kind: MapType) -> None:
    cpus = bpf.possible_cpus()
    with Map.create(kind, 4, 16, 3) as counters:
        for number in range(3):
            value = b"".join(struct.pack("<QQ", cpu + 1, 10 * number) for cpu in range(cpus))
            counters.update(_key(number), value)
        total = cpus * (cpus + 1) // 2
        keys, sums = counters.sums()
        found = {bytes(key): list(words) for key, words in zip(keys, sums, strict=True)}
        assert found == {_key(number): [total, 10 * number * cpus] for number in range(3)}
        one = counters.lookup_sum(_key(1))
        assert one is not None
        assert one.tolist() == [total, 10 * cpus]
        assert one.dtype == np.uint64


def test_memory_is_what_fdinfo_says(hashes: Map) -> None:
    assert hashes.memory() > 1000 * 12
    hashes.close()
    hashes.close()
    with pytest.raises(ValueError, match="closed"):
        hashes.lookup(_key(1))


def test_maps_are_not_inherited(hashes: Map) -> None:
    assert not os.get_inheritable(hashes.fd)


def test_map_types_the_kernel_does_not_know() -> None:
    with pytest.raises(BpfMissingError, match="no maps of type ringbuf"):
        Map.create(MapType.RINGBUF, 0, 0, 1000)  # not a power of two


def test_denied_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> int:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(syscalls, "map_create", denied)
    monkeypatch.setattr(syscalls, "program_load", denied)
    with pytest.raises(BpfDeniedError) as map_error:
        Map.create(MapType.HASH, 4, 8, 1)
    assert "root" in map_error.value.remedy
    with pytest.raises(BpfDeniedError):
        Program.load(_constant(0).bytes({}))


def _constant(value: int) -> Code:
    asm = Assembler()
    asm.mov(R0, value)
    asm.exit_()
    return asm.finish()


def test_programs_run_and_are_measured() -> None:
    with Program.load(_constant(7).bytes({}), ProgramType.SOCKET_FILTER, "seven") as seven:
        assert seven.test_run(bytes(64)) == 7
        before = seven.stats().runs  # 0, unless somebody else on this host has the kernel measure
        with enable_stats():
            seven.test_run(bytes(64), repeat=10)
        stats = seven.stats()
        assert stats.runs - before == 10
        assert stats.run_time_ns > 0
        assert stats.missed == 0
        assert seven.jited() in (True, False)
        translated, verified = seven.instruction_counts()
        assert translated >= 2
        assert verified in (0, 2)


def test_the_verifiers_log_comes_with_the_error() -> None:
    asm = Assembler()
    asm.mov(R0, R6)
    asm.exit_()
    with pytest.raises(VerifierError, match="bad: the verifier says: R6 !read_ok") as refused:
        Program.load(asm.finish().bytes({}), name="bad")
    assert "0: (bf) r0 = r6" in refused.value.log


def test_loops_with_callbacks_and_subprograms() -> None:
    """Sums 0…99 in a callback, doubles the sum in a subprogram."""
    asm = Assembler()
    asm.store(R10, -8, 0)
    asm.mov(R1, 100)
    asm.ld_func(R2, "add one")  # not a C identifier: BTF gets another name
    asm.mov(R3, R10)
    asm.add(R3, -8)
    asm.mov(R4, 0)
    asm.call(Helper.LOOP)
    asm.load(R1, R10, -8)
    asm.call_subprogram("double")
    asm.exit_()
    asm.label("add one")
    asm.load(R3, R2)
    asm.add(R3, R1)
    asm.store(R2, 0, R3)
    asm.mov(R0, 0)
    asm.exit_()
    asm.label("double")
    asm.mov(R0, R1)
    asm.add(R0, R1)
    asm.exit_()
    code = asm.finish()
    with Program.load(code.bytes({}), ProgramType.SOCKET_FILTER, "loop", subprograms=code.subprograms) as program:
        assert program.test_run(bytes(64)) == 2 * sum(range(100))
    with pytest.raises(VerifierError, match="func_info"):
        Program.load(code.bytes({}), ProgramType.SOCKET_FILTER, "loop")


def test_names_are_made_acceptable() -> None:
    with Map.create(MapType.ARRAY, 4, 8, 1, name="net/http.(*conn)…and more") as odd:
        assert odd.fd > 0
