"""What programs ask about time and place, in machine code: clock, CPU, thread, name, random numbers, the hook's
cookie."""

from __future__ import annotations

import contextlib
import errno
from functools import cache

from gotap.inject.machine.layout import Clock, Header, Slot
from gotap.inject.machine.routines import Work, copy, fail, slot
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    EAX,
    ECX,
    EDI,
    EDX,
    R8,
    R9,
    R9D,
    R10,
    RAX,
    RBP,
    RCX,
    RDX,
    RSI,
    RSP,
    dword,
    mem,
)

_GETTID = 186
_CLOCK_MONOTONIC = 1
#: Selector of the segment whose limit is node << 12 | CPU (arch/x86/include/asm/segment.h, __CPUNODE_SEG).
_CPU_SEGMENT = 0x7B
_CPU_BITS = 12
_COMM_SIZE = 16
#: Multiplier of a xorshift generator's output (Vigna, "An experimental exploration of Marsaglia's xorshift
#: generators").
_STAR = 0x2545F4914F6CDD1D


@cache
def has_rdpid() -> bool:
    """Whether the processor has that instruction, which takes 1 ns where LSL takes 6, in virtual machines 17."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        return any("rdpid" in line.split() for line in file if line.startswith("flags"))
    return False


def running_cpu(a: Assembler) -> None:
    """RAX = number of the CPU, as the vDSO's getcpu finds it. Loses RCX."""
    if has_rdpid():
        a.rdpid(RAX)
    else:
        a.mov(ECX, _CPU_SEGMENT)
        a.lsl(EAX, ECX)
    a.and_(EAX, (1 << _CPU_BITS) - 1)


class TimeCode:
    """Assembles the routines. `region`: its address; `clock`: address of the vDSO's clock_gettime where the TSC is no
    clock, else 0.
    """

    def __init__(self, a: Assembler, region: int, clock: int) -> None:
        self.a = a
        self.region = region
        self.clock = clock

    def assemble(self) -> None:
        parts = (self.ktime, self.cpu, self.pid_tgid, self.ns_pid_tgid, self.comm, self.random, self.cookie,
                 self.ticks)  # fmt: skip
        for part in parts:
            self.a.align(16)
            part()

    def ktime(self) -> None:
        """CLOCK_MONOTONIC in ns. The setting may change while it is used: then once more, a few times at most."""
        a = self.a
        a.label("time.ktime")
        if self.clock:
            self.ask_vdso()
            return
        again = a.new_label("again")
        a.mov(R8, self.region + Header.CLOCK)
        a.mov(ECX, 4)
        a.label(again)
        a.mov(R10, mem(R8))
        a.mov(R9D, R10.sized(4))
        a.and_(R9D, 1)
        a.shl(R9D, Clock.SIZE.bit_length() - 1)
        a.add(R9, R8)
        a.add(R9, Header.CLOCK_RECORDS - Header.CLOCK)
        a.rdtsc()
        a.shl(RDX, 32)
        a.or_(RAX, RDX)
        a.sub(RAX, mem(R9, Clock.TSC0))
        a.mul(mem(R9, Clock.MULT, size=8))
        a.shr(RAX, 32)
        a.shl(RDX, 32)
        a.or_(RAX, RDX)
        a.add(RAX, mem(R9, Clock.NS))
        a.dec(ECX)
        a.cmp(mem(R8), R10)
        a.jne(f"{again}.more")
        a.ret()
        a.label(f"{again}.more")
        a.test(ECX, ECX)
        a.jne(again)
        a.ret()

    def ask_vdso(self) -> None:
        """It follows the C ABI, of which it uses the general registers, and less than 200 bytes of stack."""
        a = self.a
        a.push(RBP)
        a.mov(RBP, RSP)
        a.and_(RSP, -16)
        a.mov(EDI, _CLOCK_MONOTONIC)
        a.lea(RSI, slot(Work.TIME))
        a.mov(RAX, self.clock)
        a.call(RAX)
        a.mov(RSP, RBP)
        a.pop(RBP)
        a.mov(RAX, slot(Work.TIME))
        a.imul(RAX, RAX, 1_000_000_000)
        a.add(RAX, slot(Work.TIME + 8))
        a.ret()

    def cpu(self) -> None:
        self.a.label("time.cpu")
        running_cpu(self.a)
        self.a.ret()

    def thread(self) -> None:
        """EAX = id of this thread, asked for once. Loses RCX, RDX, R8, R11."""
        a, known, asked = self.a, self.a.new_label("known"), self.a.new_label("asked")
        a.mov(R8, self.region + Header.GENERATION)
        a.mov(EDX, mem(R8))
        a.mov(EAX, slot(Slot.TID))
        a.test(EAX, EAX)
        a.je(asked)
        a.cmp(slot(Slot.GENERATION), EDX)
        a.je(known)
        a.label(asked)
        a.mov(slot(Slot.GENERATION), EDX)
        a.mov(EAX, _GETTID)
        a.syscall()
        a.mov(slot(Slot.TID), EAX)
        a.label(known)

    def pid_tgid(self) -> None:
        """tgid << 32 | tid. The tgid is as gotap sees it, the tid as the thread's own pid namespace has it."""
        a = self.a
        a.label("time.pid_tgid")
        self.thread()
        a.mov(R8, self.region + Header.TGID)
        a.mov(ECX, mem(R8))
        a.shl(RCX, 32)
        a.or_(RAX, RCX)
        a.ret()

    def ns_pid_tgid(self) -> None:
        """(RDI device, RSI inode, RDX struct bpf_pidns_info, RCX its length) → 0: the same ids, whatever is asked
        for."""
        a, invalid = self.a, self.a.new_label("invalid")
        a.label("time.ns_pid_tgid")
        a.cmp(ECX, 8)
        a.jne(invalid)
        a.mov(R10, RDX)
        self.thread()
        a.mov(R8, self.region + Header.TGID)
        a.mov(ECX, mem(R8))
        a.mov(dword(R10), EAX)
        a.mov(dword(R10, 4), ECX)
        a.mov(EAX, 0)
        a.ret()
        fail(a, invalid, errno.EINVAL)

    def comm(self) -> None:
        """(RDI where to, RSI room) → 0: the process's name, with a zero."""
        a, all_of_it = self.a, self.a.new_label("all")
        a.label("time.comm")
        a.mov(ECX, RSI.sized(4))
        a.mov(RSI, self.region + Header.COMM)
        a.cmp(ECX, _COMM_SIZE)
        a.jbe(all_of_it)
        a.mov(ECX, _COMM_SIZE)
        a.label(all_of_it)
        copy(a)
        a.mov(EAX, 0)
        a.ret()

    def random(self) -> None:
        """32 random bits: upper half of xorshift64*, whose state is the thread's own."""
        a = self.a
        a.label("time.random")
        a.mov(RAX, slot(Slot.RANDOM))
        for shift, amount in ((a.shr, 12), (a.shl, 25), (a.shr, 27)):
            a.mov(RCX, RAX)
            shift(RCX, amount)
            a.xor(RAX, RCX)
        a.mov(slot(Slot.RANDOM), RAX)
        a.mov(RCX, _STAR)
        a.imul(RAX, RCX)
        a.shr(RAX, 32)
        a.ret()

    def cookie(self) -> None:
        self.a.label("time.cookie")
        self.a.mov(RAX, slot(Slot.COOKIE))
        self.a.ret()


    def ticks(self) -> None:
        """The TSC, behind all that was done before."""
        a = self.a
        a.label("time.ticks")
        a.rdtscp()
        a.shl(RDX, 32)
        a.or_(RAX, RDX)
        a.ret()
