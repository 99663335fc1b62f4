"""Where the threads of a stopped process stand: also those that a signal handler has interrupted.

A thread's own instruction pointer is in its registers. Within a signal handler the interrupted one lies in the signal
frame, above the handler's stack pointer: whatever lies above there within reach and could be such an address is taken
for one. That errs on the safe side: a patch is made, or memory given back, a little later.

A handler is known by the signals that it blocks: its own, and Go's handlers block all (setsig, runtime/os_linux.go, Go
1.18–1.27). One of C that is installed with SA_NODEFER and an empty mask is not seen here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import numpy as np

from gotap.inject.tracee import Target
from gotap.inject.tracee.errors import MemoryRefused
from gotap.inject.trampolines.windows import PAGE
from gotap.process import ptrace
from gotap.process.proc import Process

#: Go's handlers run on 32 KB (malg in mpreinit, runtime/os_linux.go); those of C on 64 KB at most, as a rule.
_REACH = 64 << 10
_UPROBE_FRAME = 64


def standing(target: Target) -> set[int]:
    """Addresses at which threads go on, as far as can be seen, and others."""
    found = {registers.rip for registers in target.threads.values()}
    for thread, registers in target.threads.items():
        if _in_handler(thread):
            found |= _words_above(target, registers.rsp, _REACH)
    return found


def refers_to(target: Target, ranges: Iterable[tuple[int, int]]) -> bool:
    """Whether a thread is in one of these ranges, will return into it, or has its stack there.

    Outside of handlers a thread returns there only from what the kernel made of a springboard's nop (4 words, see
    `springboard`). Elsewhere words prove nothing: hooks leave addresses in R12 and R13, which others may push.
    """
    bounds = list(ranges)
    calls = _uprobe_calls(target.pid)
    for thread, registers in target.threads.items():
        words = {registers.rip, registers.rsp}
        if _in_handler(thread):
            words |= _words_above(target, registers.rsp, _REACH)
        elif any(low <= registers.rip < high for low, high in calls):
            words |= _words_above(target, registers.rsp, _UPROBE_FRAME)
        values = np.fromiter(words, np.uint64, len(words))
        if any(bool(((values >= low) & (values < high)).any()) for low, high in bounds):
            return True
    return False


def _uprobe_calls(pid: int) -> list[tuple[int, int]]:
    """Where calls lead that the kernel has made of nops (Linux ≥ 6.18)."""
    with Process(pid) as process:
        return [(one.start, one.end) for one in process.mappings() if one.path == "[uprobes-trampoline]"]


def _in_handler(thread: int) -> bool:
    try:
        return bool(ptrace.blocked_signals(thread))
    except OSError:  # killed meanwhile
        return False


def _words_above(target: Target, stack: int, size: int) -> set[int]:
    """The aligned words from a stack pointer on, up to the end of what is mapped there."""
    at = stack & -8
    try:
        content = target.read(at, size)
    except MemoryRefused:
        content = _up_to_the_end(target, at, size)
    return set(np.frombuffer(content, np.uint64).tolist())


def _up_to_the_end(target: Target, at: int, size: int) -> bytes:
    content = b""
    with contextlib.suppress(MemoryRefused):
        while len(content) < size:
            content += target.read(at + len(content), PAGE - (at + len(content)) % PAGE)
    return content
