"""Runs programs of scripts in the kernel, on a uprobe in this process: registers and memory are what the test says.

A stub loads the registers, passes the probed instruction, and puts them back. The interpreter can be given the same
memory (`LiveMemory`), so that one routine does the same in both or something is wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np

from bpf_interpreter import UserMemory
from gotap.bpf.code import Code
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.enums import ProgramType
from gotap.bpf.isa import PT_REGS, PT_REGS_SIZE
from gotap.kernel.attach import Link, attach_type, attach_uprobes, close_all
from gotap.kernel.bpf import Map, Program
from gotap.kernel.features import scripting
from gotap.kernel.findings import Features
from gotap.kernel.machine import KernelMachine
from gotap.observe.scriptmaps import ScriptMaps
from gotap.observe.tracing.maps import WorkMaps
from kernel_maps import fds

_STUB = 256  # bytes for each
_SAVED = 0x800  # the stub keeps the stack pointer that far above the one it is told
_NUMBERS = {"rax": 0, "rcx": 1, "rdx": 2, "rbx": 3, "rbp": 5, "rsi": 6, "r8": 8, "r9": 9, "r10": 10, "r11": 11,
            "r12": 12, "r13": 13, "r14": 14, "r15": 15}  # fmt: skip
_KEPT = (3, 5, 12, 13, 14, 15)  # callee-saved

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def _load(number: int, offset: int) -> bytes:
    """mov register, [rdi + offset]"""
    rex = 0x4C if number >= 8 else 0x48
    return bytes((rex, 0x8B, 0x80 | (number & 7) << 3 | 7)) + struct.pack("<i", offset)


def _push(number: int, opcode: int) -> bytes:
    return (b"\x41" if number >= 8 else b"") + bytes((opcode + (number & 7),))


def _stub() -> tuple[bytes, int]:
    """void stub(struct pt_regs *), and where in it the probed nop stands."""
    before = b"".join(_push(number, 0x50) for number in _KEPT)
    before += _load(0, PT_REGS["rsp"]) + b"\x48\x89\xa0" + struct.pack("<i", _SAVED)  # mov [rax + saved], rsp
    before += b"".join(_load(number, PT_REGS[name]) for name, number in _NUMBERS.items())
    before += _load(4, PT_REGS["rsp"]) + _load(7, PT_REGS["rdi"])
    after = b"\x48\x8b\xa4\x24" + struct.pack("<i", _SAVED)  # mov rsp, [rsp + saved]
    after += b"".join(_push(number, 0x58) for number in reversed(_KEPT)) + b"\xc3"
    return before + b"\x90" + after, len(before)


class Stubs:
    """As many places that can be probed, in a file of memory that is mapped here."""

    def __init__(self, count: int) -> None:
        code, self._site = _stub()
        size = -(-count * _STUB // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            self._fd = os.memfd_create("gotap-stubs", os.MFD_CLOEXEC | 0x10)  # MFD_EXEC
        except OSError:  # before Linux 6.3 there is no such flag: all are executable
            self._fd = os.memfd_create("gotap-stubs", os.MFD_CLOEXEC)
        os.write(self._fd, (code.ljust(_STUB, b"\xcc") * count).ljust(size, b"\xcc"))
        address = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, self._fd, 0)
        assert address != ctypes.c_void_p(-1).value
        self._address, self._size = int(address), size

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def offset(self, index: int) -> int:
        return index * _STUB + self._site

    def address(self, index: int) -> int:
        """Of the probed instruction."""
        return self._address + self.offset(index)

    def fire(self, index: int, registers: Mapping[str, int]) -> None:
        """`rsp` must point into memory that may be written to, and so must what is 2 KiB above it."""
        image = ctypes.create_string_buffer(PT_REGS_SIZE)
        for name, value in registers.items():
            struct.pack_into("<Q", image, PT_REGS[name], value & (1 << 64) - 1)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._address + index * _STUB)(ctypes.addressof(image))

    def close(self) -> None:
        _libc.munmap(self._address, self._size)
        os.close(self._fd)


class Heap:
    """Memory of this process that stands for a Go program's."""

    def __init__(self, size: int = 1 << 17) -> None:
        self._pages = mmap.mmap(-1, size)
        self._pages.write(bytes(size))
        self._bytes = (ctypes.c_char * size).from_buffer(self._pages)
        self.start = ctypes.addressof(self._bytes)
        self._next = self.start + 64

    def put(self, data: bytes) -> int:
        place = self._next
        self.write(place, data)
        self._next += -(-len(data) // 16) * 16 + 16
        return place

    def reserve(self, size: int) -> int:
        return self.put(bytes(size))

    def write(self, address: int, data: bytes) -> None:
        at = address - self.start
        self._bytes[at : at + len(data)] = data

    def text(self, data: bytes) -> bytes:
        """A Go string's two words."""
        return struct.pack("<QQ", self.put(data) if data else 0, len(data))


class LiveMemory(UserMemory):
    """This process's own memory, for the interpreter."""

    def read(self, address: int, size: int) -> bytes | None:
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            try:
                data = os.pread(memory.fileno(), size, address)
            except (OSError, OverflowError):
                return None
        return data if len(data) == size else None


class KernelScript:
    """A script's maps in the kernel, and programs on stubs."""

    def __init__(self, setting: ScriptSetting, stubs: Stubs, probes: int = 4) -> None:
        self.features: Features = scripting()
        machine = KernelMachine(self.features)
        self.setting = setting
        self.stubs = stubs
        self._undo = contextlib.ExitStack()
        self._links: list[Link] = []
        self.work = WorkMaps(machine, setting, probes, 64, grows=True)
        self._undo.callback(self.work.close)
        self.maps = ScriptMaps(machine, setting.maps, grows=True)
        self._undo.callback(self.maps.close)

    def load(self, code: Code) -> Program:
        kind = ProgramType.KPROBE
        maps = {**self.work.by_name(kind), **self.maps.by_name}
        program = Program.load(code.bytes(fds(maps)), kind, "gotap_test", subprograms=code.subprograms,
                               attach_type=attach_type(self.features))  # fmt: skip
        self._undo.callback(program.close)
        return program

    def attach(self, code: Code, index: int, cookie: int = 0, unwinders: int | None = None) -> None:
        """To a stub; `unwinders`: also into the program array at that index."""
        program = self.load(code)
        if unwinders is not None:
            self.work.set_unwinder(unwinders, program)
        sites = [(self.stubs.offset(index), cookie)]
        self._links.append(
            attach_uprobes(program, self.stubs.path, sites, pid=os.getpid(), features=self.features)
        )

    def map(self, name: str) -> Map:
        return self.work.maps[name]

    def events(self) -> list[bytes]:
        return [row.tobytes() for rows in self.work.ring.read() for row in rows]

    def counts(self, probe: int) -> list[int]:
        return self.work.counts(probe)

    def frames_held(self) -> int:
        _, values = self.map(script_frame.FRAMES).entries()
        return int(np.count_nonzero(values[:, :8].any(axis=1)))

    def close(self) -> None:
        close_all(self._links)
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def stubs(count: int) -> Iterator[Stubs]:
    made = Stubs(count)
    try:
        yield made
    finally:
        made.close()
