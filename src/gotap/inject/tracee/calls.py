"""System calls that a process is made to make, by x86-64's numbers (arch/x86/entry/syscalls/syscall_64.tbl)."""

from __future__ import annotations

from msgspec import Struct

MFD_CLOEXEC, MFD_ALLOW_SEALING = 1, 2  # include/uapi/linux/memfd.h
#: Linux ≥ 6.3, where vm.memfd_noexec may demand it: no execve of the file; it may be mapped executable all the same.
MFD_NOEXEC_SEAL = 8
PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 1, 2, 0x20, 0x100000


class Result(Struct, frozen=True):
    """As an argument: what the call at that place of the list answered."""

    index: int


class Syscall(Struct, frozen=True):
    """One call. Bytes among the arguments are passed as a pointer to them, for the time of the call."""

    number: int
    arguments: tuple[int | bytes | Result, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"system call {self.number}"


def memfd_create(name: str, flags: int = MFD_CLOEXEC) -> Syscall:
    """Answers a descriptor; mappings of it show as /memfd:NAME."""
    return Syscall(319, (name.encode() + b"\0", flags), "memfd_create")


def ftruncate(descriptor: int | Result, size: int) -> Syscall:
    return Syscall(77, (descriptor, size), "ftruncate")


def mmap(
    address: int, size: int, protection: int, flags: int, descriptor: int | Result = -1, offset: int = 0
) -> Syscall:
    """Answers the address."""
    return Syscall(9, (address, size, protection, flags, descriptor, offset), "mmap")


def mprotect(address: int, size: int, protection: int) -> Syscall:
    return Syscall(10, (address, size, protection), "mprotect")


def munmap(address: int, size: int) -> Syscall:
    return Syscall(11, (address, size), "munmap")


def open_file(path: str, flags: int, mode: int = 0) -> Syscall:
    """Answers a descriptor; the path is the process's own (openat with AT_FDCWD)."""
    return Syscall(257, (-100, path.encode() + b"\0", flags, mode), "openat")


def close(descriptor: int | Result) -> Syscall:
    return Syscall(3, (descriptor,), "close")
