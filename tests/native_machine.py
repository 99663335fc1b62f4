"""Runs BPF programs as x86-64 code in this process, with the interpreter's helpers and maps.

`NativeMachine` takes the place of `bpf_interpreter.Machine`: tests of generated programs hold for the translator's
code too. By default each run is made twice, first by the interpreter on a copy of everything, and the two must agree
on the result, the maps, and the records.

Registers that programs may not rely on are filled with rubbish before each run and after each call; what they must
keep is looked at.
"""

from __future__ import annotations

import copy
import ctypes
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from bpf_emulation import ArrayMap, EmulatedMap, Fault, PerCpuArrayMap, ProgramArrayMap, Region, RingMap, Space
from bpf_interpreter import Machine
from gotap.bpf import isa
from gotap.bpf.code import Code
from gotap.bpf.enums import MapType
from gotap.bpf.isa import Helper
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.calls import Call, call_address
from gotap.inject.x86.operands import (
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    byte,
    mem,
)
from gotap.inject.x86.translator import TAIL_ENTRY, Inline, MapPlace, helpers_used, stack_size, translate

#: What R12 holds: byte 1 of it is 1, all others are 0.
_slot = (ctypes.c_uint8 * 64)(0, 1)
SLOT = ctypes.addressof(_slot)
_RUBBISH = 0xBAD0_BAD0_BAD0_BAD0
_HELPER = ctypes.CFUNCTYPE(*[ctypes.c_uint64] * 6)
_memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)


class Executable:
    """Memory that code can be put into."""

    def __init__(self, size: int = 1 << 20) -> None:
        self._memory = mmap.mmap(-1, size, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._view = (ctypes.c_char * size).from_buffer(self._memory)
        self.address = ctypes.addressof(self._view)
        self._size, self._used = size, 0

    @property
    def here(self) -> int:
        """Where the next code will lie."""
        return self.address + self._used

    def put(self, code: bytes) -> int:
        """Its address."""
        at = self.here
        assert self._used + len(code) <= self._size
        ctypes.memmove(at, code, len(code))
        self._used = (self._used + len(code) + 63) // 64 * 64
        return at


def address_of(data: bytearray | memoryview) -> int:
    """The caller keeps `data`."""
    return ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data))


class LiveSpace(Space):
    """Addresses of this process. Regions that programs cannot follow (maps) keep made-up ones."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[object] = []

    def add(self, region: Region) -> int:
        if not region.data:
            return super().add(region)
        self.kept.append(region.data)
        return address_of(region.data)

    def find(self, address: int, size: int, *, write: bool) -> tuple[Region, int]:
        self.read(address, size)
        return Region("memory", bytearray()), 0

    def read(self, address: int, size: int) -> bytes:
        try:
            data = os.pread(_memory, size, address)
        except (OSError, OverflowError):
            data = b""
        if len(data) < size:
            raise Fault(f"{size} bytes at {address:#x} cannot be read")
        return data

    def write(self, address: int, data: bytes) -> None:
        self.read(address, len(data))
        ctypes.memmove(address, data, len(data))


@dataclass
class NativeMachine(Machine):
    """`compared`: every run is made by the interpreter too. `inlined_arrays`: lookups in arrays make no call.
    """

    compared: bool = True
    inlined_arrays: bool = True
    alone: int | None = None  # what the slot says, if it is asked

    def __post_init__(self) -> None:
        super().__post_init__()
        self.space = LiveSpace()
        self._map_addresses = {name: self.space.add(Region(f"map {name}", bytearray(0))) for name in self.maps}
        self._map_at = {address: self.maps[name] for name, address in self._map_addresses.items()}
        self._executable = Executable()
        self._codes: dict[int, tuple[Code, int]] = {}
        self._sizes: dict[int, int] = {}
        self._thunks: dict[Helper, int] = {}
        self._callbacks: list[object] = []
        self._failure: BaseException | None = None
        self._places: dict[str, MapPlace] = {}
        self._entry = self._executable.put(_entry(self._executable.here))
        self._enter = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(self._entry)

    def run(self, code: Code, regs: Mapping[str, int] | None = None, context: bytes | None = None) -> int:
        if self.meanwhile is not None:
            pytest.skip("the test stops between BPF's instructions, and machine code has others")
        if context is None:
            image = bytearray(isa.PT_REGS_SIZE)
            for name, value in (regs or {}).items():
                image[isa.PT_REGS[name] : isa.PT_REGS[name] + 8] = (value & (1 << 64) - 1).to_bytes(8, "little")
            context = bytes(image)
        twin = self._twin() if self.compared else None
        expected = twin.run(code, context=context) if twin is not None else None
        result = self._native(code, context)
        if twin is not None:
            self.ran = twin.ran
            assert result == expected, f"R0 is {result:#x}, {expected:#x} by the interpreter"
            _same_maps(self.maps, twin.maps)
            assert self.signals == twin.signals
            assert self.random.getstate() == twin.random.getstate()
        return result

    def _twin(self) -> Machine:
        """An interpreter in the same state."""
        maps = {name: _copied(one) for name, one in self.maps.items()}
        twin = Machine(maps, self.memory, self.pid_tgid, self.cookie, self.cpu, self.cpus, self.comm,
                       self.pid_namespace, self.clock, limit=self.limit)  # fmt: skip
        twin.random.setstate(self.random.getstate())
        twin._time, twin.signals = self._time, list(self.signals)
        return twin

    def _native(self, code: Code, context: bytes) -> int:
        self._frames = []
        program = self._program(code)
        for name, one in self.maps.items():
            if isinstance(one, ProgramArrayMap):
                for index, other in one.programs.items():
                    address = self._program(other) + TAIL_ENTRY
                    ctypes.memmove(self._places[name].values + 8 * index, address.to_bytes(8, "little"), 8)
        registers, out = bytearray(context), bytearray(24)
        self._enter(address_of(registers), program, address_of(out))
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        result, slot, moved = (int.from_bytes(out[at : at + 8], "little") for at in (0, 8, 16))
        assert slot == SLOT, "R12 was not kept"
        assert moved == 0, "RSP was not kept"
        assert registers == context, "the context was written"
        if self._reserved:
            raise Fault("a ring reservation was neither submitted nor discarded")
        return result

    def _program(self, code: Code) -> int:
        """Where it lies."""
        if id(code) not in self._codes:
            for name in self.maps:
                if name not in self._places:
                    self._places[name] = self._place(name)
            helpers = {helper: self._thunk(helper) for helper in helpers_used(code)}
            at = self._executable.here
            machine_code = translate(code, at, self._places, helpers, self.inlines(), self.alone)
            assert stack_size(code) < 8192
            assert self._executable.put(machine_code) == at
            self._codes[id(code)] = code, at
            self._sizes[at] = len(machine_code)
        return self._codes[id(code)][1]

    def machine_code(self, code: Code) -> bytes:
        """Of a program that has run."""
        _, at = self._codes[id(code)]
        return ctypes.string_at(at, self._sizes[at])

    def inlines(self) -> Mapping[Helper, Inline]:
        """Reads leave rubbish where the translator says that nobody looks."""
        return dict.fromkeys((Helper.PROBE_READ_USER, Helper.PROBE_READ_KERNEL), self._read)

    def _read(self, asm: Assembler, call: Call) -> bool:
        pieces = call.pieces()
        if pieces is None:
            return False
        asm.push(RDI)
        asm.push(RSI)
        call_address(asm, self._thunk(call.helper))
        asm.pop(RSI)
        asm.pop(RDI)
        brought = {offset + byte for offset, size in pieces for byte in range(size)}
        for offset in range(call.number(2) or 0):
            if offset not in brought:
                asm.mov(byte(RDI, offset), 0xA5)
        return True

    def _place(self, name: str) -> MapPlace:
        """The values of arrays are moved behind each other."""
        the_map = self.maps[name]
        descriptor = self._map_addresses[name]
        if isinstance(the_map, ProgramArrayMap):
            programs = bytearray(8 * the_map.max_entries)
            self.space.kept.append(programs)
            return MapPlace(descriptor, address_of(programs), MapType.PROG_ARRAY, the_map.max_entries, 8)
        if not isinstance(the_map, ArrayMap):
            return MapPlace(descriptor)
        stride = (the_map.value_size + 7) // 8 * 8
        if isinstance(the_map, PerCpuArrayMap):
            return MapPlace(descriptor, kind=MapType.PERCPU_ARRAY)
        memory = bytearray(stride * the_map.max_entries)
        base = address_of(memory)
        self.space.kept.append(memory)
        for index, (key, value) in enumerate(the_map.values.items()):
            memory[index * stride : index * stride + len(value)] = value
            moved = memoryview(memory)[index * stride : index * stride + len(value)]
            the_map.values[key] = moved  # type: ignore[assignment]
            self._values[id(moved)] = base + index * stride
        inlined = self.inlined_arrays
        return MapPlace(descriptor, base, MapType.ARRAY, the_map.max_entries if inlined else 0, stride)

    def _thunk(self, helper: Helper) -> int:
        if helper not in self._thunks:
            try:
                function = getattr(self, f"_{helper.name.lower()}")
            except AttributeError:
                raise Fault(f"helper {helper} is not emulated") from None
            callback = _HELPER(self._guarded(function))
            self._callbacks.append(callback)
            address = ctypes.cast(callback, ctypes.c_void_p).value
            assert address is not None
            self._thunks[helper] = self._executable.put(_helper_thunk(self._executable.here, address))
        return self._thunks[helper]

    def _guarded(self, function: Callable[..., int]) -> Callable[..., int]:
        count = function.__code__.co_argcount - 1  # type: ignore[attr-defined]

        def call(*arguments: int) -> int:
            if self._failure is not None:
                return 0
            try:
                return function(*arguments[:count]) & (1 << 64) - 1
            except BaseException as failure:
                self._failure = failure
                return 0

        return call


def _entry(at: int) -> bytes:
    """enter(context, program, out): out = result, R12, by how much RSP moved."""
    asm = Assembler(at)
    for register in (RBX, RBP, R12, R13, R14, R15, RDX):
        asm.push(register)
    asm.mov(RAX, RSI)
    for register in (RBX, RCX, RDX, RSI, RBP, R8, R9, R10, R11, R13, R14, R15):
        asm.mov(register, _RUBBISH + register.number)
    asm.mov(R12, SLOT)
    asm.push(RSP)
    asm.push(mem(RSP))
    asm.call(RAX)
    asm.mov(RDX, RSP)
    asm.mov(RSP, mem(RSP, 8))  # it was pushed twice, so that calls find the stack aligned
    asm.mov(RCX, mem(RSP))
    asm.mov(mem(RCX), RAX)
    asm.mov(mem(RCX, 8), R12)
    asm.lea(RDX, mem(RDX, 16))
    asm.sub(RDX, RSP)
    asm.mov(mem(RCX, 16), RDX)
    for register in (RDX, R15, R14, R13, R12, RBP, RBX):
        asm.pop(register)
    asm.ret()
    return asm.finish()


def _helper_thunk(at: int, function: int) -> bytes:
    """Traps when the stack is not aligned; loses what helpers may lose."""
    asm = Assembler(at)
    asm.test(RSP, 15)
    asm.je("odd")
    asm.sub(RSP, 8)
    asm.mov(RAX, function)
    asm.call(RAX)
    asm.add(RSP, 8)
    for register in (RDI, RSI, RDX, RCX, R8, R9, R10, R11):
        asm.mov(register, _RUBBISH + 16 + register.number)
    asm.ret()
    asm.label("odd")
    asm.ud2()
    return asm.finish()


def _copied(the_map: EmulatedMap) -> EmulatedMap:
    other = copy.copy(the_map)
    other.values = {key: bytearray(value) for key, value in the_map.values.items()}
    other.addresses = {}
    if hasattr(the_map, "cpu_values"):
        others = [{key: bytearray(value) for key, value in values.items()} for values in the_map.cpu_values[1:]]
        other.cpu_values = [other.values, *others]  # type: ignore[attr-defined]
    if isinstance(the_map, RingMap):
        assert isinstance(other, RingMap)
        other.records, other.flags = list(the_map.records), list(the_map.flags)
    return other


def _same_maps(ours: Mapping[str, EmulatedMap], theirs: Mapping[str, EmulatedMap]) -> None:
    for name, one in ours.items():
        other = theirs[name]
        assert {key: bytes(value) for key, value in one.values.items()} == other.values, f"map {name}"
        if hasattr(one, "cpu_values"):
            assert one.cpu_values == other.cpu_values, f"map {name}"  # type: ignore[attr-defined]
        if isinstance(one, RingMap):
            assert isinstance(other, RingMap)
            assert (one.records, one.flags, one.used) == (other.records, other.flags, other.used), f"ring {name}"
