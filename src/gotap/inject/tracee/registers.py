"""The registers of a stopped x86-64 thread."""

from __future__ import annotations

import struct

from msgspec import Struct

_LAYOUT = struct.Struct("=27Q")

#: What a system call answers when a signal interrupted it and it may begin anew (include/linux/errno.h): ERESTARTSYS,
#: ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK.
_RESTARTS = frozenset((1 << 64) - number for number in (512, 513, 514, 516))

#: Selector of 64-bit user code, __USER_CS (arch/x86/include/asm/segment.h); Xen's paravirtual guests see 0xe033.
_CODE_64 = (0x33, 0xE033)


class Registers(Struct, frozen=True):
    """struct user_regs_struct, in its order (arch/x86/include/asm/user_64.h); all are unsigned.

    `orig_rax` is the number of the system call that the thread is in, all ones when it is in none.
    """

    r15: int
    r14: int
    r13: int
    r12: int
    rbp: int
    rbx: int
    r11: int
    r10: int
    r9: int
    r8: int
    rax: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    orig_rax: int
    rip: int
    cs: int
    eflags: int
    rsp: int
    ss: int
    fs_base: int
    gs_base: int
    ds: int
    es: int
    fs: int
    gs: int

    @classmethod
    def unpack(cls, content: bytes) -> Registers:
        return cls(*_LAYOUT.unpack(content))

    def pack(self) -> bytes:
        return _LAYOUT.pack(*(getattr(self, name) for name in self.__struct_fields__))

    @property
    def is_64_bit(self) -> bool:
        return self.cs in _CODE_64

    @property
    def in_syscall(self) -> bool:
        """Whether a system call was interrupted that begins anew when the thread goes on and no handler runs."""
        return self.orig_rax >> 63 == 0 and self.rax in _RESTARTS
