"""Where the threads of a stopped process stand: also those that a signal handler has interrupted.

A thread's own place is in its registers. Within a signal handler the interrupted one lies in the signal frame, above
the handler's stack pointer: its struct sigcontext is known by the word that holds the segments, which is the same for
all 64-bit code (arch/x86/include/uapi/asm/sigcontext.h, Linux 5.15 to 6.18). Frames are looked for where a thread
blocks signals: handlers block their own, and Go's all (setsig, runtime/os_linux.go, Go 1.18–1.27). So does, without any
handler, the thread of a Go program that asks for signals (ensureSigM, runtime/signal_unix.go): no frame is found there.
A handler of C that is installed with SA_NODEFER and an empty mask is not seen here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gotap.inject.tracee import Target
from gotap.inject.tracee.errors import MemoryRefused
from gotap.inject.trampolines.windows import PAGE
from gotap.process import ptrace
from gotap.process.proc import Process

#: Go's handlers run on 32 KB (malg in mpreinit, runtime/os_linux.go); those of C on 64 KB at most, as a rule.
_REACH = 64 << 10
_UPROBE_FRAME = 64

#: In struct sigcontext: CS 0x33, GS and FS 0, SS 0x2b; and how many words before it RIP and RSP are.
_SEGMENTS = np.uint64(0x002B_0000_0000_0033)
_RIP, _RSP = 2, 3


class Place(NamedTuple):
    """Where a thread stands or will go on, with the stack that it has there."""

    rip: int
    rsp: int


def standing(target: Target) -> set[int]:
    """Addresses at which threads go on."""
    return {place.rip for place in _places(target)}


def refers_to(target: Target, ranges: Iterable[tuple[int, int]]) -> bool:
    """Whether a thread is in one of these ranges, will return into it, or has its stack there.

    A thread returns there only from what the kernel made of a springboard's nop (4 words, see `springboard`). Elsewhere
    words prove nothing: hooks leave addresses in R12 and R13, which others may push.
    """
    bounds = list(ranges)
    calls = _uprobe_calls(target.pid)
    addresses: set[int] = set()
    for place in _places(target):
        addresses.update(place)
        if any(low <= place.rip < high for low, high in calls):
            addresses.update(_words_above(target, place.rsp, _UPROBE_FRAME).tolist())
    return any(low <= address < high for address in addresses for low, high in bounds)


def _places(target: Target) -> Iterator[Place]:
    for thread, registers in target.threads.items():
        yield Place(registers.rip, registers.rsp)
        if _blocks_signals(thread):
            words = _words_above(target, registers.rsp, _REACH)
            for at in np.flatnonzero(words == _SEGMENTS):
                if at >= _RSP:
                    yield Place(int(words[at - _RIP]), int(words[at - _RSP]))


def _uprobe_calls(pid: int) -> list[tuple[int, int]]:
    """Where calls lead that the kernel has made of nops (Linux ≥ 6.18)."""
    with Process(pid) as process:
        return [(one.start, one.end) for one in process.mappings() if one.path == "[uprobes-trampoline]"]


def _blocks_signals(thread: int) -> bool:
    try:
        return bool(ptrace.blocked_signals(thread))
    except OSError:  # killed meanwhile
        return False


def _words_above(target: Target, stack: int, size: int) -> NDArray[np.uint64]:
    """The aligned words from a stack pointer on, up to the end of what is mapped there."""
    at = stack & -8
    try:
        content = target.read(at, size)
    except MemoryRefused:
        content = _up_to_the_end(target, at, size)
    return np.frombuffer(content, np.uint64)


def _up_to_the_end(target: Target, at: int, size: int) -> bytes:
    content = b""
    with contextlib.suppress(MemoryRefused):
        while len(content) < size:
            content += target.read(at + len(content), PAGE - (at + len(content)) % PAGE)
    return content
