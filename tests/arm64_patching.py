"""Copies of arm64 Go programs with springboards or hooks written into them, to be run by qemu-user.

The trampolines are one more segment, where there was a note. Everything is as a live attach would leave it: stubs,
slots, records, programs, branches.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from arm64_binaries import Arm64Binary
from gobuild import MissingTool
from gotap.image.code.arm64 import JumpSite
from gotap.image.code.arm64_relocation import jump, words_of
from gotap.inject.arm64.assembler import Assembler
from gotap.inject.arm64.hook import HEAD, MASK, Places, common, largest, programs, stub
from gotap.inject.arm64.slots import Slots
from gotap.inject.arm64.springboard import springboard

_NOTE, _LOAD, _RWX = 4, 1, 7
#: Behind all segments of the tests' programs, and near their text.
_WINDOW = 0x1000000
_PAGE = 1 << 16


#: Where Debian has the C library for arm64 (libc6-arm64-cross), for programs that are not static.
_LIBRARIES = "/usr/aarch64-linux-gnu"


def run(program: Path, *arguments: str, stdin: str = "") -> str:
    """What it prints; fails if it fails."""
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if emulator is None:
        raise MissingTool("qemu-aarch64 is not installed (Debian package qemu-user-static)")
    command = [emulator, "-L", _LIBRARIES, str(program), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def with_springboards(binary: Arm64Binary, sites: Iterable[JumpSite], target: Path) -> Path:
    """Every site runs in a stub of its own, of which nobody probes the nop."""
    code, branches = bytearray(), {}
    for site in sites:
        at = _WINDOW + len(code)
        code += springboard(site, at).code
        branches[site.start] = jump(site.start, at)
    return _write(binary, branches, bytes(code), target)


def with_hooks(binary: Arm64Binary, sites: Sequence[JumpSite], target: Path) -> tuple[Path, int, Slots]:
    """Every site counts its events. Also the address of the counters, one word for each, and the slots."""
    size = -(-(0x1000 + sum(largest(site, Slots(0, 256)) + 16 for site in sites)) // _PAGE) * _PAGE
    head, mask, program = _WINDOW + size, _WINDOW + size + 0x20, _WINDOW + size + 0x40
    records, lists = head + 0x1000, head + 0x1000 + 16 * len(sites)
    counters = lists + 24 * len(sites)
    slots = Slots(-(-(counters + 8 * len(sites)) // _PAGE) * _PAGE, 256)
    code = bytearray(common(slots, _WINDOW).ljust(0x1000, b"\0"))
    record_bytes, list_bytes, branches = b"", b"", {}
    for number, site in enumerate(sites):
        at = _WINDOW + len(code)
        places = Places(_WINDOW, head, mask, records + 16 * number)
        made = stub(site, slots, at, places, lists + 24 * number)
        code += made.code.ljust(-(-len(made.code) // 16) * 16, b"\0")
        record_bytes += made.record
        list_bytes += programs([(program, counters + 8 * number)])
        branches[site.start] = jump(site.start, at)
    data = HEAD.pack(slots.address, slots.end).ljust(0x20, b"\0") + MASK.pack(slots.mask).ljust(0x20, b"\0")
    data = (data + _counting(program, slots)).ljust(0x1000, b"\0") + record_bytes + list_bytes
    code = code.ljust(size, b"\0") + data
    code = code.ljust(slots.address - _WINDOW, b"\0") + b"\xff" * 12  # slot 0 belongs to no thread
    code = code.ljust(slots.end - _WINDOW, b"\0")
    return _write(binary, branches, bytes(code), target), counters, slots


def _counting(at: int, slots: Slots) -> bytes:
    """A program that adds 1 to the word at its cookie, and leaves a mess in all registers that it may."""
    a = Assembler(at)
    a.ldr(1, 19, slots.cookie)
    a.label("again")
    a.ldaxr(2, 1)
    a.add(2, 2, 1)
    a.stxr(3, 2, 1)
    a.cbnz(3, "again", bits=32)
    for register in (*range(18), *range(20, 28), 29):
        a.movz(register, 0xDEAD)
    a.write_flags(0)
    a.ret()
    return a.finish()


def _write(binary: Arm64Binary, branches: dict[int, list[int]], window: bytes, target: Path) -> Path:
    raw = bytearray(binary.path.read_bytes())
    for address, words in branches.items():
        offset = binary.elf.offset_of(address)
        assert offset is not None
        raw[offset : offset + 4] = words_of(words)
    start = -(-len(raw) // _PAGE) * _PAGE
    headers, count = struct.unpack_from("<Q", raw, 32)[0], struct.unpack_from("<H", raw, 56)[0]
    spare = next(
        at for at in range(headers, headers + 56 * count, 56) if struct.unpack_from("<I", raw, at)[0] == _NOTE
    )
    struct.pack_into("<IIQQQQQQ", raw, spare, _LOAD, _RWX, start, _WINDOW, _WINDOW, len(window), len(window), _PAGE)
    target.write_bytes(bytes(raw.ljust(start, b"\0")) + window)
    target.chmod(0o755)
    return target
