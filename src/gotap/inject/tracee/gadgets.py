"""Code of the process that makes system calls: none of gotap's has to be there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from gotap.process.proc import Mapping

Read = Callable[[int, int], bytes | None]

#: `syscall; ret`: runtime.osyield of every Go (sys_linux_amd64.s, 1.18-1.27), getpid of glibc and musl.
_CALL = b"\x0f\x05\xc3"
#: `mov $15, %eax` or %rax, and `syscall`: runtime.sigreturn__sigaction (runtime.sigreturn before Go 1.21),
#: __restore_rt of glibc and musl. Without the opcode of the move, which comes in two forms.
_RESTORE = b"\x0f\0\0\0\x0f\x05"
_MOVES = (b"\xb8", b"\x48\xc7\xc0")

#: Read at a time where memory is read, and how far pieces overlap.
_CHUNK, _OVERLAP = 1 << 20, 16


class Gadgets(Struct, frozen=True):
    """Addresses in the process: of `syscall; ret`, and of code that calls rt_sigreturn with the stack as it is."""

    call: int
    restore: int


def find_gadgets(mappings: Sequence[Mapping], read: Read, exe: str) -> Gadgets | None:
    """The first of each in the executable mappings; `exe` is a path of the executable, so that its pages are not read
    through the process, which would count them as its own.
    """
    call = restore = None
    for mapping in mappings:
        if not mapping.permissions.startswith("r-x") or mapping.path == "[vsyscall]":
            continue
        for address, content in _pieces(mapping, read, exe):
            call = call or _proven(address, content, content.find(_CALL), _CALL, read)
            restore = restore or _restorer(address, content, read)
            if call and restore:
                return Gadgets(call, restore)
    return None


def _restorer(address: int, content: bytes, read: Read) -> int | None:
    at = -1
    while (at := content.find(_RESTORE, at + 1)) >= 0:
        for move in _MOVES:
            if content.endswith(move, 0, at):
                return _proven(address, content, at - len(move), move + _RESTORE, read)
    return None


def _proven(address: int, content: bytes, at: int, code: bytes, read: Read) -> int | None:
    """The address, if the process has this code there too: somebody may have patched what the file holds."""
    return address + at if at >= 0 and read(address + at, len(code)) == code else None


def _pieces(mapping: Mapping, read: Read, exe: str) -> Iterator[tuple[int, bytes]]:
    size = mapping.end - mapping.start
    if mapping.inode:
        with contextlib.suppress(OSError), open(exe, "rb") as file:
            if os.fstat(file.fileno()).st_ino == mapping.inode:
                yield mapping.start, os.pread(file.fileno(), size, mapping.offset)
                return
    for offset in range(0, size, _CHUNK):
        yield mapping.start + offset, read(mapping.start + offset, min(_CHUNK + _OVERLAP, size - offset)) or b""
