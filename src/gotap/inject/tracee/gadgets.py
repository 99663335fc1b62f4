"""Code of the process that makes system calls: none of gotap's has to be there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from gotap.process.proc import Mapping

#: `syscall; ret`: runtime.osyield of every Go (sys_linux_amd64.s, 1.18-1.27), getpid of glibc and musl.
_CALL = b"\x0f\x05\xc3"
#: `mov $15, %eax` or %rax, `syscall`: runtime.sigreturn__sigaction (before Go 1.19 runtime.sigreturn), __restore_rt.
_RESTORE = re.compile(rb"(?:\xb8|\x48\xc7\xc0)\x0f\0\0\0\x0f\x05")

_CHUNK = 1 << 20
_OVERLAP = 16


class Gadgets(Struct, frozen=True):
    """Addresses in the process: of `syscall; ret`, and of code that calls rt_sigreturn with the stack as it is."""

    call: int
    restore: int


def find_gadgets(mappings: Sequence[Mapping], read: Callable[[int, int], bytes | None], exe: str) -> Gadgets | None:
    """The first of each in the executable mappings; `exe` is a path of the executable, so that its pages are not read
    through the process, which would count them as its own.
    """
    call = restore = None
    for mapping in (m for m in mappings if m.is_executable and m.permissions[0] == "r" and m.path != "[vsyscall]"):
        for address, content in _pieces(mapping, read, exe):
            if call is None and (at := content.find(_CALL)) >= 0 and read(address + at, 3) == _CALL:
                call = address + at
            if (
                restore is None
                and (found := _RESTORE.search(content))
                and read(address + found.start(), len(found[0])) == found[0]
            ):
                restore = address + found.start()
            if call is not None and restore is not None:
                return Gadgets(call, restore)
    return None


def _pieces(mapping: Mapping, read: Callable[[int, int], bytes | None], exe: str) -> list[tuple[int, bytes]] | _Pieces:
    size = mapping.end - mapping.start
    if mapping.inode and _is_same(exe, mapping):
        try:
            with open(exe, "rb") as file:
                return [(mapping.start, os.pread(file.fileno(), size, mapping.offset))]
        except OSError:
            pass
    return _Pieces(mapping.start, size, read)


class _Pieces:
    """Memory piece by piece, so that the search may end early."""

    def __init__(self, start: int, size: int, read: Callable[[int, int], bytes | None]) -> None:
        self.start, self.size, self.read = start, size, read

    def __iter__(self):  # type: ignore[no-untyped-def]
        for offset in range(0, self.size, _CHUNK):
            yield self.start + offset, self.read(self.start + offset, min(_CHUNK + _OVERLAP, self.size - offset)) or b""


def _is_same(exe: str, mapping: Mapping) -> bool:
    try:
        return os.stat(exe).st_ino == mapping.inode
    except OSError:
        return False
