"""Hook stubs that run in this process: what they leave of registers, flags and stack, and what programs get to see."""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Sequence
from dataclasses import dataclass

from gotap.image.code.jumps import Displaced, JumpSite
from gotap.inject.machine.layout import Slot
from gotap.inject.trampolines.hook import HookCode
from gotap.inject.trampolines.slots import Context, Slots
from gotap.inject.trampolines.windows import Place, Window
from gotap.inject.x86.assembler import Assembler
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
    Register,
    mem,
    qword,
    rip,
)

#: All but RSP.
REGISTERS = (RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15)
#: CF, PF, AF, ZF, SF and OF.
FLAGS = 0x8D5
SITE = 0x401234

_REGION, _WINDOW = 1 << 20, 1 << 16
_BELOW = 64  # words below the stack pointer that are looked at
_PATTERN = 0x5A5A5A5A
_MADV_WIPEONFORK = 18
_PROT = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC


@dataclass
class Seen:
    """What one pass over a stub did. `below`: the words below the stack pointer afterwards, downwards."""

    before: dict[Register, int]
    after: dict[Register, int]
    flags_before: int
    flags_after: int
    stack: int
    below: Sequence[int]

    @property
    def bytes_of_stack(self) -> int:
        """How far down it has been written."""
        return 8 * max((number + 1 for number, word in enumerate(self.below) if word != _PATTERN), default=0)


class Stubs:
    """A region with slots and one window, in memory of this process, and stubs with code around them that tells."""

    def __init__(self, slots: int = 16) -> None:
        self._memory = mmap.mmap(-1, _REGION + _WINDOW, prot=_PROT, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        self._view = (ctypes.c_char * len(self._memory)).from_buffer(self._memory)
        self.region = ctypes.addressof(self._view)
        self._private_memory = mmap.mmap(-1, mmap.PAGESIZE, prot=_PROT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._private = (ctypes.c_char * mmap.PAGESIZE).from_buffer(self._private_memory)
        self.slots = Slots(self.region, 0x1000, slots)
        self.write(self.slots.address + Slot.OWNER, 1)
        self.write(self.slots.address + Slot.CLAIM, 1)
        self.code = HookCode(self.slots)
        self.window = Window(self.region + _REGION, _WINDOW // 2, _WINDOW // 2)
        self.put(self.window.address, self.code.common)
        self.put(self.window.data, self.code.head)
        self.counters = self.region + _REGION - 0x4000  # words for programs' cookies
        self.context = self.region + _REGION - 0x3000  # what the last program saw, then its RSP and slot
        self._results = self.region + _REGION - 0x2000
        self._inputs = self.region + _REGION - 0x1000
        self._code = self.window.address + 0x200
        self._data = self.window.data + 0x40

    def put(self, address: int, content: bytes) -> None:
        ctypes.memmove(address, content, len(content))

    def write(self, address: int, value: int) -> None:
        ctypes.c_uint64.from_address(address).value = value

    def read(self, address: int) -> int:
        return ctypes.c_uint64.from_address(address).value

    def count(self, number: int) -> int:
        """How often the program with that counter ran."""
        return self.read(self.counters + 8 * number)

    def counter(self, number: int) -> int:
        """Its cookie."""
        return self.counters + 8 * number

    def slot(self, number: int) -> int:
        return self.slots.address + number * Slot.SIZE

    def seen(self, register: Context) -> int:
        """Of the context that the last program got."""
        return self.read(self.context + register)

    def _add(self, code: bytes) -> int:
        at = self._code
        self.put(at, code)
        self._code += -(-len(code) // 64) * 64
        return at

    def program(self) -> int:
        """Counts at its cookie, copies its context, destroys all that it may."""
        a = Assembler(self._code)
        a.mov(RAX, mem(R12, Slot.COOKIE))
        a.lock().inc(qword(RAX))
        for offset in range(0, 168, 8):
            a.mov(RAX, mem(RDI, offset))
            a.mov(rip(self.context + offset, 8), RAX)
        a.mov(rip(self.context + 168, 8), RSP)
        a.mov(rip(self.context + 176, 8), R12)
        for register in REGISTERS:
            if register is not R12:
                a.mov(register, 0x0DEAD0DEAD0DEAD0)
        a.mov(RAX, -1)
        a.add(RAX, 1)
        a.ret()
        return self._add(a.finish())

    def stub(self, programs: Sequence[tuple[int, int]], *, scratch: bool) -> Stub:
        head = self._head()
        at = self._code + len(head)
        record, self._data = self._data, self._data + 256
        nothing = Displaced(SITE, b"")
        site = JumpSite(SITE, SITE, 5, nothing, nothing, None, None, True, "", scratch, False)
        made = self.code.stub(site, self._at_private(), Place(0, at, record, at), programs)
        self.put(record, made.data)
        return Stub(self, self._add(head + made.code + self._tail(at + len(made.code))), record)

    def _at_private(self) -> Window:
        """The window, with its private page where ours is."""
        private = ctypes.addressof(self._private)
        assert abs(private - self.region) < 1 << 31
        self._private[: len(self.code.private)] = self.code.private
        self._private_memory.madvise(_MADV_WIPEONFORK)
        window = self.window
        return _Apart(window.address, window.code_size, window.data_size, elsewhere=private)

    def _head(self) -> bytes:
        """Registers and flags from the inputs, a pattern below the stack pointer."""
        a = Assembler(self._code)
        for register in (RBX, RBP, R12, R13, R14, R15):
            a.push(register)
        a.push(rip(self._inputs + 8 * len(REGISTERS), 8))
        a.popfq()
        a.mov(rip(self._results, 8), RSP)
        for number in range(1, _BELOW + 1):
            a.mov(qword(RSP, -8 * number), _PATTERN)
        for number, register in enumerate(REGISTERS):
            a.mov(register, rip(self._inputs + 8 * number, 8))
        return a.finish()

    def _tail(self, at: int) -> bytes:
        """Everything into the results, by moves, which leave the flags alone."""
        a = Assembler(at)
        for number, register in enumerate(REGISTERS):
            a.mov(rip(self._results + 16 + 8 * number, 8), register)
        for number in range(1, _BELOW + 1):
            a.mov(RAX, mem(RSP, -8 * number))
            a.mov(rip(self._results + 0x400 + 8 * (number - 1), 8), RAX)
        a.pushfq()
        a.pop(rip(self._results + 8, 8))
        for register in (R15, R14, R13, R12, RBP, RBX):
            a.pop(register)
        a.ret()
        return a.finish()

    def words(self, address: int, count: int) -> list[int]:
        return list((ctypes.c_uint64 * count).from_address(address))

    def run(self, stub: Stub, values: Sequence[int], flags: int) -> Seen:
        """One pass with these values in REGISTERS. Not for several threads at once: see `Stub.__call__`."""
        for number, value in enumerate((*values, flags | 0x202)):
            self.write(self._inputs + 8 * number, value)
        stub()
        after = self.words(self._results + 16, len(REGISTERS))
        return Seen(
            dict(zip(REGISTERS, values, strict=True)),
            dict(zip(REGISTERS, after, strict=True)),
            flags,
            self.read(self._results + 8) & FLAGS,
            self.read(self._results),
            self.words(self._results + 0x400, _BELOW),
        )


class _Apart(Window, frozen=True):
    """Its private page is not behind it."""

    elsewhere: int = 0

    @property
    def private(self) -> int:
        return self.elsewhere


@dataclass
class Stub:
    stubs: Stubs
    address: int
    record: int

    def __call__(self) -> None:
        ctypes.CFUNCTYPE(None)(self.address)()


def rubbish(seed: int) -> tuple[list[int], int]:
    """Values for REGISTERS, and flags."""
    rng = random.Random(seed)
    return [rng.getrandbits(64) for _ in REGISTERS], rng.getrandbits(12) & FLAGS
