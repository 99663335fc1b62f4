"""Processes that stand still under gotap's hand (ptrace), are read, written, and make system calls for it.

    with stopped(pid) as target:                # all threads
        target.threads[tid].rip, target.read(address, 16), target.write(address, code)
    with calling(pid) as caller:                # one thread only
        descriptor = caller(memfd_create("gotap"))
    address, _ = call(pid, [mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS), …])

A program that process/launch.py holds at its exec takes the same functions, from the thread that launched it. gotap
may be killed at any point: the process runs on as if nothing had been.
"""

from __future__ import annotations

from gotap.inject.tracee.calls import (
    MAP_ANONYMOUS,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    MFD_NOEXEC_SEAL,
    PROT_EXEC,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    Result,
    Syscall,
    close,
    ftruncate,
    memfd_create,
    mmap,
    mprotect,
    munmap,
    open_file,
)
from gotap.inject.tracee.errors import TraceeError
from gotap.inject.tracee.injection import Caller
from gotap.inject.tracee.registers import Registers
from gotap.inject.tracee.target import Target, call, calling, stopped

__all__ = [
    "MAP_ANONYMOUS",
    "MAP_FIXED_NOREPLACE",
    "MAP_PRIVATE",
    "MAP_SHARED",
    "MFD_ALLOW_SEALING",
    "MFD_CLOEXEC",
    "MFD_NOEXEC_SEAL",
    "PROT_EXEC",
    "PROT_NONE",
    "PROT_READ",
    "PROT_WRITE",
    "Caller",
    "Registers",
    "Result",
    "Syscall",
    "Target",
    "TraceeError",
    "call",
    "calling",
    "close",
    "ftruncate",
    "memfd_create",
    "mmap",
    "mprotect",
    "munmap",
    "open_file",
    "stopped",
]
