"""Reads of the target's memory that cannot fault, in machine code.

Ranges that the header says stay readable for good (the executable's segments, the Go heap's arenas, which the runtime
never unmaps) are copied at once. Anything else may be unmapped by another thread between a look and the copy, and a
fault here would end the target, so the kernel copies it, by rt_sigprocmask(2): a call that no seccomp filter can forbid
to a Go program, whose runtime makes it for each new thread. Of process_vm_readv(2) that cannot be known, and a filter
may kill.

SIG_BLOCK with the unknown word as the set blocks the signals of its bits for as long as it takes to set the old mask
again; that second call tells what the mask had become: the word, but for the bits of signals that were blocked before,
and of SIGKILL and SIGSTOP, which never are (kernel/signal.c, sys_rt_sigprocmask, Linux 5.15 to 6.18). Those bits come
from looking at the word at another distance, where they are other signals'. A signal that arrives meanwhile is
delivered after.

Where no distance shows a bit (the first bytes of a mapping when SIGHUP is blocked, anything when all signals are) the
read fails, as if nothing were there.

That is four system calls for eight bytes, some 0.3 µs; programs that run in gotap itself read nothing.
"""

from __future__ import annotations

import errno

from gotap.inject.machine.layout import RANGE_COUNT, Header, Range
from gotap.inject.machine.routines import Work, copy, fail, slot
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    CL,
    EAX,
    EBP,
    EBX,
    ECX,
    EDI,
    EDX,
    ESI,
    R8,
    R9,
    R10D,
    R13,
    R14,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    byte,
    mem,
)

_SIGPROCMASK, _SIG_BLOCK, _SIG_SETMASK, _MASK_SIZE = 14, 0, 2, 8
#: Bits of the signals that cannot be blocked: SIGKILL (9), SIGSTOP (19).
_NEVER = 1 << 8 | 1 << 18
#: Distances from which a word is looked at, until all its bits are known: of its own, then of both sides.
_DISTANCES = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6)


class ReadCode:
    """Assembles `read.user`, `read.user_str`, `read.kernel`, `read.kernel_str`. `region`: its address; `user`: whether
    this code will run in the target."""

    def __init__(self, a: Assembler, region: int, *, user: bool) -> None:
        self.a = a
        self.region = region
        self.user = user

    def assemble(self) -> None:
        for part in (self.read_user, self.read_user_str, self.read_kernel, self.read_kernel_str):
            self.a.align(16)
            part()
        if self.user:
            self.slow()
            self.word()

    def known(self, unknown: str) -> None:
        """Jumps to `unknown` unless the RSI bytes at RDX are in a range. Loses RAX, RCX, R8."""
        a = self.a
        look, other, inside = a.new_label("look"), a.new_label("other"), a.new_label("inside")
        a.mov(R8, self.region + Header.RANGES)
        a.mov(ECX, RANGE_COUNT)
        a.mov(RAX, RDX)
        a.add(RAX, RSI)
        a.jb(unknown)  # it wraps around
        a.label(look)
        a.cmp(RDX, mem(R8, Range.LOW))
        a.jb(other)
        a.cmp(RAX, mem(R8, Range.HIGH))
        a.jbe(inside)
        a.label(other)
        a.add(R8, Range.SIZE)
        a.dec(ECX)
        a.jne(look)
        a.jmp(unknown)
        a.label(inside)

    def read_user(self) -> None:
        """(RDI where to, RSI bytes, RDX address in the target) → 0 or -EFAULT; then nothing is said of the bytes."""
        a = self.a
        word = a.new_label("one")
        a.label("read.user")
        if not self.user:
            fail(a, "read.fault", errno.EFAULT)
            return
        a.mov(ESI, ESI)
        self.known("read.slow")
        a.cmp(ESI, 8)
        a.je(word)
        a.mov(RCX, RSI)
        a.mov(RSI, RDX)
        copy(a)
        a.mov(EAX, 0)
        a.ret()
        a.label(word)
        a.mov(RAX, mem(RDX))
        a.mov(mem(RDI), RAX)
        a.mov(EAX, 0)
        a.ret()
        fail(a, "read.fault", errno.EFAULT)

    def slow(self) -> None:
        """As read.user, word for word by the kernel."""
        a = self.a
        following, each, done = a.new_label("following"), a.new_label("each"), a.new_label("done")
        a.label("read.slow")
        a.mov(RAX, RDX)
        a.add(RAX, RSI)
        a.jb("read.fault")  # it wraps around
        a.push(RBX)
        a.push(RBP)
        a.mov(slot(Work.TARGET), RDI)
        a.mov(slot(Work.SOURCE), RDX)
        a.mov(slot(Work.LENGTH), RSI)
        a.label(following)
        a.mov(RDX, slot(Work.SOURCE))
        a.cmp(slot(Work.LENGTH, 8), 0)
        a.je(done)
        a.and_(RDX, -8)
        a.call("read.word")
        a.test(RAX, RAX)
        a.jne(done)
        a.mov(RAX, slot(Work.WORD))
        a.mov(RDX, slot(Work.SOURCE))
        a.mov(RDI, slot(Work.TARGET))
        a.mov(RSI, slot(Work.LENGTH))
        a.mov(ECX, EDX)
        a.and_(ECX, 7)
        a.shl(ECX, 3)
        a.shr(RAX, CL)
        a.label(each)
        a.mov(byte(RDI), EAX.sized(1))
        a.shr(RAX, 8)
        a.inc(RDI)
        a.inc(RDX)
        a.dec(RSI)
        a.mov(slot(Work.TARGET), RDI)
        a.mov(slot(Work.SOURCE), RDX)
        a.mov(slot(Work.LENGTH), RSI)
        a.je(following)
        a.test(EDX, 7)
        a.jne(each)
        a.jmp(following)
        a.label(done)
        a.pop(RBP)
        a.pop(RBX)
        a.cmp(slot(Work.LENGTH, 8), 0)
        a.jne("read.fault")
        a.mov(EAX, 0)
        a.ret()

    def word(self) -> None:
        """WORD = the 8 bytes at RDX, a multiple of 8; RAX = 0, else they cannot be read. Loses RBX, RBP."""
        a, known, unknown = self.a, self.a.new_label("known"), self.a.new_label("unknown")
        a.label("read.word")
        a.mov(slot(Work.ELEMENT), RDX)
        a.mov(EBX, 0)  # the bits that are known
        a.mov(EBP, 0)  # the word
        for distance in _DISTANCES:
            following = a.new_label("following")
            a.mov(RDX, slot(Work.ELEMENT))
            if distance:
                a.add(RDX, distance)
            a.call("read.look")
            a.test(RAX, RAX)
            a.jne(following if distance else unknown)
            if distance:
                shift = a.shl if distance > 0 else a.shr
                shift(R8, 8 * abs(distance))
                shift(R9, 8 * abs(distance))
            a.and_(R8, R9)
            a.or_(RBP, R8)
            a.or_(RBX, R9)
            a.cmp(RBX, -1)
            a.je(known)
            a.label(following)
        a.label(unknown)
        a.mov(RAX, -errno.EFAULT)
        a.ret()
        a.label(known)
        a.mov(slot(Work.WORD), RBP)
        a.mov(EAX, 0)
        a.ret()
        self.look()

    def look(self) -> None:
        """R8 = the 8 bytes at RDX as far as they can be seen, R9 = which bits can; RAX not 0: they cannot be read."""
        a, unreadable = self.a, self.a.new_label("unreadable")
        a.label("read.look")
        for how, new, old in ((_SIG_BLOCK, None, Work.OLD_MASK), (_SIG_SETMASK, Work.OLD_MASK, Work.NEW_MASK)):
            if new is None:
                a.mov(RSI, RDX)
            else:
                a.lea(RSI, slot(new))
            a.lea(RDX, slot(old))
            a.mov(EDI, how)
            a.mov(R10D, _MASK_SIZE)
            a.mov(EAX, _SIGPROCMASK)
            a.syscall()
            if new is None:
                a.test(RAX, RAX)
                a.jne(unreadable)
        a.mov(R8, slot(Work.NEW_MASK))
        a.mov(R9, slot(Work.OLD_MASK))
        a.or_(R9, _NEVER)
        a.not_(R9)
        a.mov(EAX, 0)
        a.label(unreadable)
        a.ret()

    def read_user_str(self) -> None:
        """(RDI where to, RSI room, RDX address in the target) → length with the zero, at most the room, or -EFAULT.

        Word for word, so that nothing behind the page of the zero is touched.
        """
        a = self.a
        following, each, done, cut = (a.new_label(name) for name in ("following", "each", "done", "cut"))
        a.label("read.user_str")
        if not self.user:
            a.jmp("read.fault")
            return
        a.mov(ESI, ESI)
        for register in (RBX, RBP, R13, R14):
            a.push(register)
        a.mov(R13, RDX)  # where it goes on
        a.mov(R14, RDI)
        a.mov(slot(Work.TEXT), RDI)
        a.mov(slot(Work.ROOM), RSI)
        a.label(following)
        a.cmp(slot(Work.ROOM, 8), 0)
        a.je(cut)
        a.lea(RDI, slot(Work.TEXT_WORD))
        a.mov(ESI, 8)
        a.mov(RDX, R13)
        a.and_(RDX, -8)
        a.call("read.user")
        a.test(RAX, RAX)
        a.jne(done)
        a.mov(RAX, slot(Work.TEXT_WORD))
        a.mov(ECX, R13.sized(4))
        a.and_(ECX, 7)
        a.shl(ECX, 3)
        a.shr(RAX, CL)
        a.label(each)
        a.mov(byte(R14), EAX.sized(1))
        a.inc(R14)
        a.inc(R13)
        a.test(EAX.sized(1), EAX.sized(1))
        a.je(cut)
        a.dec(slot(Work.ROOM, 8))
        a.je(cut)
        a.shr(RAX, 8)
        a.test(R13.sized(4), 7)
        a.jne(each)
        a.jmp(following)
        a.label(cut)
        a.mov(RAX, R14)
        a.sub(RAX, slot(Work.TEXT))
        a.je(done)
        a.mov(byte(R14, -1), 0)
        a.label(done)
        for register in (R14, R13, RBP, RBX):
            a.pop(register)
        a.ret()

    def read_kernel(self) -> None:
        """(RDI where to, RSI bytes, RDX from) → 0: what programs have from maps and their own memory."""
        a = self.a
        a.label("read.kernel")
        a.mov(ECX, ESI)
        a.mov(RSI, RDX)
        copy(a)
        a.mov(EAX, 0)
        a.ret()

    def read_kernel_str(self) -> None:
        """(RDI where to, RSI room, RDX from) → length with the zero, at most the room."""
        a, each, done = self.a, self.a.new_label("each"), self.a.new_label("done")
        a.label("read.kernel_str")
        a.mov(ESI, ESI)
        a.mov(R8, RDI)
        a.mov(EAX, 0)
        a.test(ESI, ESI)
        a.je(done)
        a.label(each)
        a.movzx(EAX, byte(RDX))
        a.mov(byte(RDI), EAX.sized(1))
        a.inc(RDI)
        a.inc(RDX)
        a.test(EAX, EAX)
        a.je(done)
        a.dec(ESI)
        a.jne(each)
        a.mov(byte(RDI, -1), 0)
        a.label(done)
        a.mov(RAX, RDI)
        a.sub(RAX, R8)
        a.ret()
