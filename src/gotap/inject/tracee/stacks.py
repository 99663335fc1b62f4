"""How far down a stopped thread's stack may be written: Go's stacks are small, and heap lies below them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from gotap.inject.tracee.registers import Registers
from gotap.process.proc import Mapping

Read = Callable[[int, int], bytes | None]

#: runtime.g begins with stack.lo and stack.hi and has m at 0x30; runtime.m begins with g0 (runtime2.go, Go 1.18-1.27).
_G = struct.Struct("=QQ32xQ")
_WORD = struct.Struct("=Q")
#: Where thread-local storage ends, and so runtime.tlsg lies: at -8 of FS, further down with a libc's variables.
_TLS = 256
#: Arenas of Go's heap, from which all its stacks come but the system's: 0xc0<<32 | i<<40 (runtime/malloc.go).
_ARENA, _ARENA_MASK = 0xC0 << 32, 0xFF << 32


def lowest(registers: Registers, mappings: Sequence[Mapping], read: Read) -> int | None:
    """The lowest address that belongs to the stack the thread is on; None if that cannot be proven."""
    stack = registers.rsp
    mapping = next((m for m in mappings if m.start < stack <= m.end and m.permissions.startswith("rw")), None)
    if mapping is None:
        return None
    for low, high in _go_stacks(registers, read):
        if low < stack <= high:
            return max(low, mapping.start)
    # On C's heap it is a coroutine's, or a signal handler's, and ends nobody knows where.
    return None if mapping.start & _ARENA_MASK == _ARENA or mapping.path == "[heap]" else mapping.start


def _go_stacks(registers: Registers, read: Read) -> Iterator[tuple[int, int]]:
    """Stacks of the goroutine that runs on the thread and of its g0; what R14 and the TLS hold may be no g."""
    tls = read(registers.fs_base - _TLS, _TLS) or read(registers.fs_base - 8, 8) or b""
    words = [word for (word,) in _WORD.iter_unpack(tls[: len(tls) & -8])]
    for g in dict.fromkeys((registers.r14, *reversed(words))):
        found = _g(g, read)
        if found is None:
            continue
        low, high, m = found
        g0 = _WORD.unpack(read(m, 8) or bytes(8))[0]
        of_g0 = _g(g0, read)
        if of_g0 is not None and of_g0[2] == m:
            yield low, high
            yield of_g0[:2]


def _g(address: int, read: Read) -> tuple[int, int, int] | None:
    """stack.lo, stack.hi and m of what may be a runtime.g."""
    if address & 7 or not 0x1000 <= address < 1 << 47:
        return None
    content = read(address, _G.size)
    if content is None:
        return None
    low, high, m = _G.unpack(content)
    return (low, high, m) if 0 < low < high and m and not m & 7 else None
