"""A signal frame as the kernel would have left it: rt_sigreturn brings back from it all that a thread had.

So a thread that gotap has sent into a system call finds back by itself, should gotap die. The layout is struct
rt_sigframe (arch/x86/include/asm/sigframe.h) and struct sigcontext_64 (uapi/asm/sigcontext.h);
what is restored and what is checked stands in arch/x86/kernel/signal_64.c and fpu/signal.c (read in Linux 6.1-6.18).
"""

from __future__ import annotations

import struct

from msgspec import Struct
from msgspec.structs import replace

from gotap.inject.tracee.registers import Registers

#: UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
_FLAGS = 1 | 2 | 4
#: ss_flags that sigaltstack(2) refuses: the thread's alternate stack stays as it is, for rt_sigreturn overlooks that.
_NO_STACK = 0x7FFF_FFFF
_SYSCALL_LENGTH = 2

#: The restorer, uc_flags, uc_link, uc_stack, the registers (sigcontext), uc_sigmask.
_CONTEXT = struct.Struct("=Q QQ QiiQ 18Q 4H 4Q Q 64x Q")
_SIGINFO = 128
FRAME = _CONTEXT.size + _SIGINFO

# struct _fpx_sw_bytes, at byte 464 of the FXSAVE area; XSTATE_BV at 512 (Intel SDM 1, 13.4.2).
_SOFTWARE, _MAGIC1 = 464, 0x46505853
_END = struct.pack("=I", 0x46505845)  # FP_XSTATE_MAGIC2
_XSTATE_BV = 512
_ALIGNMENT = 64
#: AMX's tiles: component 18 (arch/x86/include/asm/fpu/types.h), and where they begin in the standard format; the only
#: component that a task must ask for, so that the kernel takes a state that ends with them for a damaged one.
_TILES, _TILES_AT = 18, 2816

#: Below the stack pointer, what a leaf function of C may use (System V ABI, 3.2.2).
RED_ZONE = 128


def resumed(registers: Registers) -> Registers:
    """The registers with which the thread goes on as it would have without us.

    A system call that was interrupted begins anew, as the kernel would have had it when no handler runs. One with a
    relative limit (ERESTART_RESTARTBLOCK) then waits its whole time again; EINTR, the other choice, would be an answer
    that programs without handlers need not expect.
    """
    if not registers.in_syscall:
        return registers
    return replace(registers, rax=registers.orig_rax, rip=registers.rip - _SYSCALL_LENGTH)


class Layout(Struct, frozen=True):
    """Where the frame, the bytes that calls point to, and the extended state lie, upwards."""

    frame: int
    data: int
    state: int


def layout(stack: int, extended: bytes, data: int) -> Layout:
    """Below a stack pointer; `data` is how many bytes the calls may point to."""
    state = (stack - RED_ZONE - len(extended) - len(_END)) // _ALIGNMENT * _ALIGNMENT
    at = (state - data) // 16 * 16
    return Layout((at - FRAME) // 16 * 16, at, state)


def build(registers: Registers, mask: int, extended: bytes, restorer: int, places: Layout) -> bytes:
    """All bytes from the frame's address on. RSP is to be that address when `ret` is about to run.

    `registers` as stopped, `mask` of blocked signals, `extended` as PTRACE_GETREGSET gives it, `restorer` the address
    of `mov $15, %eax; syscall`.
    """
    now = resumed(registers)
    context = _CONTEXT.pack(
        *(restorer, _FLAGS, 0, 0, _NO_STACK, 0, 0),
        *(now.r8, now.r9, now.r10, now.r11, now.r12, now.r13, now.r14, now.r15),
        *(now.rdi, now.rsi, now.rbp, now.rbx, now.rdx, now.rax, now.rcx, now.rsp, now.rip, now.eflags),
        *(now.cs, 0, 0, now.ss, 0, 0, 0, 0, places.state, mask),
    )
    return context.ljust(places.state - places.frame, b"\0") + _marked(extended)


def _marked(extended: bytes) -> bytes:
    """The state with the magic numbers by which the kernel knows that more than FXSAVE's part is there."""
    (present,) = struct.unpack_from("=Q", extended, _XSTATE_BV)
    (features,) = struct.unpack_from("=Q", extended, _SOFTWARE)  # XCR0, as the regset has it
    if features >> _TILES & 1 and not present >> _TILES & 1:
        extended, features = extended[:_TILES_AT], features & ~(1 << _TILES)
    software = struct.pack("=IIQI28x", _MAGIC1, len(extended) + len(_END), features, len(extended))
    return extended[:_SOFTWARE] + software + extended[_XSTATE_BV:] + _END
