"""What is pure: the frame that leads back, code that makes calls, where stacks end."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import gobuild
from gotap.inject.tracee import Registers, frames, gadgets, stacks
from gotap.inject.tracee.guard import has_shadow_stack
from gotap.process.proc import Mapping

REGISTERS = Registers(*range(0x1000, 0x1000 + 27))
PLAIN = (1 << 64) - 1
ERESTARTSYS, ERESTART_RESTARTBLOCK, EINTR = 512, 516, 4


def registers(**changes: int) -> Registers:
    values = {name: getattr(REGISTERS, name) for name in REGISTERS.__struct_fields__}
    return Registers(**{**values, "orig_rax": PLAIN, **changes})


def extended(size: int, present: int, features: int) -> bytes:
    content = bytearray(random.Random(1).randbytes(size))
    struct.pack_into("=Q", content, 464, features)
    struct.pack_into("=Q", content, 512, present)
    return bytes(content)


def test_registers_are_packed_as_the_kernel_has_them() -> None:
    content = random.Random(2).randbytes(216)
    assert Registers.unpack(content).pack() == content
    assert Registers.unpack(struct.pack("=27Q", *range(27))).rip == 16


@pytest.mark.parametrize("error", [ERESTARTSYS, 513, 514, ERESTART_RESTARTBLOCK])
def test_an_interrupted_call_begins_anew(error: int) -> None:
    interrupted = registers(orig_rax=35, rax=(1 << 64) - error, rip=0x500002)
    assert interrupted.in_syscall
    assert frames.resumed(interrupted) == registers(orig_rax=35, rax=35, rip=0x500000)


def test_all_else_stays() -> None:
    for state in (
        registers(orig_rax=35, rax=(1 << 64) - EINTR),
        registers(orig_rax=0, rax=7),
        registers(orig_rax=PLAIN, rax=(1 << 64) - ERESTARTSYS),  # not in a call: a number like others
    ):
        assert frames.resumed(state) == state


@pytest.mark.parametrize("stack", range(0x7FFF_0000_0000, 0x7FFF_0000_0080, 8))
def test_nothing_overlaps_and_the_red_zone_is_left_alone(stack: int) -> None:
    state = extended(2696, 7, 7)
    places = frames.layout(stack, state, 512)
    content = frames.build(registers(rsp=stack), 0, state, 0x401000, places)
    assert places.frame + frames.FRAME <= places.data
    assert places.data + 512 <= places.state
    assert places.state % 64 == 0
    assert places.frame + len(content) <= stack - 128
    assert content[:8] == struct.pack("=Q", 0x401000)


def test_without_tiles_the_state_ends_before_them() -> None:
    """Intel's AMX: a task that has not asked for tiles must not bring any back (fpu__restore_sig)."""
    size = 2816 + 8192
    features, places = 0x602E7, frames.Layout(0, 1024, 2048)
    without = frames.build(registers(), 0, extended(size, 0x202E7, features), 1, places)[2048:]
    assert struct.unpack_from("=IIQI", without, 464) == (0x46505853, 2820, 0x202E7, 2816)
    assert without[2816:] == struct.pack("=I", 0x46505845)
    within = frames.build(registers(), 0, extended(size, features, features), 1, places)[2048:]
    assert struct.unpack_from("=IIQI", within, 464) == (0x46505853, size + 4, features, size)
    assert within[size:] == struct.pack("=I", 0x46505845)


@pytest.mark.parametrize("go", gobuild.every_version())
def test_every_go_has_code_that_calls_and_code_that_returns(go: str) -> None:
    path = gobuild.build("hello", go)
    content = path.read_bytes()
    with path.open("rb") as file:
        text = next(s for s in ELFFile(file).iter_segments("PT_LOAD") if s["p_flags"] & 1)
    start, offset = text["p_vaddr"], text["p_offset"]
    mapping = Mapping(start, start + text["p_filesz"], "r-xp", offset, path.stat().st_ino, str(path))

    def read(address: int, size: int) -> bytes:
        return content[address - start + offset :][:size]

    for exe in (str(path), "/proc/self/exe"):  # by the file; through memory
        found = gadgets.find_gadgets([mapping], read, exe)
        assert found is not None
        assert read(found.call, 3) == b"\x0f\x05\xc3"
        assert function_at(path, found.restore) in ("runtime.sigreturn", "runtime.sigreturn__sigaction")


def function_at(path: Path, address: int) -> str:
    """What begins there, by `nm`."""
    listing = subprocess.run(["nm", str(path)], check=True, capture_output=True, text=True).stdout
    symbols = (line.split() for line in listing.splitlines() if line.startswith(f"{address:016x} "))
    return next(symbol[2] for symbol in symbols if symbol[1] in "tT").removesuffix(".abi0")


def test_code_that_is_not_there_any_more_is_not_used() -> None:
    code = b"\x0f\x05\xc3" + b"\xb8\x0f\0\0\0\x0f\x05"
    mapping = Mapping(0x1000, 0x1000 + len(code), "r-xp", 0, 0, "")
    assert gadgets.find_gadgets([mapping], lambda a, n: code[a - 0x1000 :][:n], "/") == gadgets.Gadgets(0x1000, 0x1003)
    assert gadgets.find_gadgets([mapping], lambda a, n: code[a - 0x1000 :][:n] if n > 7 else b"\xcc" * n, "/") is None
    assert gadgets.find_gadgets([], lambda a, n: None, "/") is None


class Memory:
    """Words at addresses."""

    def __init__(self, **words: int) -> None:
        self.words = {int(address[1:], 16): word for address, word in words.items()}

    def read(self, address: int, size: int) -> bytes | None:
        if not any(address <= word < address + size for word in self.words):
            return None
        return b"".join(struct.pack("=Q", self.words.get(at, 0)) for at in range(address, address + size, 8))


ARENA = Mapping(0xC000000000, 0xC000400000, "rw-p", 0, 0, "")
#: g at 0xc000001000 with a stack of 0xc000010000 to 0xc000012000; its m's g0 has one from 0xc000020000.
GO = {
    "xc000001000": 0xC000010000, "xc000001008": 0xC000012000, "xc000001030": 0xC000005000,
    "xc000005000": 0xC000002000,
    "xc000002000": 0xC000020000, "xc000002008": 0xC000024000, "xc000002030": 0xC000005000,
}  # fmt: skip


@pytest.mark.parametrize(("stack", "lowest"), [
    (0xC000011000, 0xC000010000), (0xC000012000, 0xC000010000), (0xC000023000, 0xC000020000),
    (0xC000010000, None), (0xC000012008, None), (0xC000030000, None),
])  # fmt: skip
def test_a_goroutines_stack_ends_where_its_g_says(stack: int, lowest: int | None) -> None:
    memory = Memory(**GO, x7f0000000ff8=0xC000001000)
    for changes in ({"r14": 0xC000001000, "fs_base": 0}, {"r14": 3, "fs_base": 0x7F0000001000}):
        assert stacks.lowest(registers(rsp=stack, **changes), [ARENA], memory.read) == lowest


def test_what_only_looks_like_a_g_is_not_believed() -> None:
    other = Memory(**{**GO, "xc000002030": 0xC000006000})  # the m's g0 belongs to another m
    assert stacks.lowest(registers(rsp=0xC000011000, r14=0xC000001000), [ARENA], other.read) is None


def test_other_stacks_end_where_their_mapping_does() -> None:
    mapping = Mapping(0x7F0000000000, 0x7F0000800000, "rw-p", 0, 0, "")
    nothing = Memory()
    assert stacks.lowest(registers(rsp=0x7F00007FF000), [mapping], nothing.read) == mapping.start
    assert stacks.lowest(registers(rsp=0x7F0000900000), [mapping], nothing.read) is None
    heap = Mapping(mapping.start, mapping.end, "rw-p", 0, 0, "[heap]")
    assert stacks.lowest(registers(rsp=0x7F00007FF000), [heap], nothing.read) is None
    readable = Mapping(mapping.start, mapping.end, "r--p", 0, 0, "")
    assert stacks.lowest(registers(rsp=0x7F00007FF000), [readable], nothing.read) is None


def test_shadow_stacks_are_seen() -> None:
    assert has_shadow_stack({"x86_Thread_features": ["shstk", "wrss"]})
    assert not has_shadow_stack({"x86_Thread_features": []})
    assert not has_shadow_stack({})
