"""A page of machine code of our own, to try probes on: hitting it disturbs nobody and needs no foreign process."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

#: Offsets of the functions in the page.
EMULATED, NOP5 = 0, 16

#: Function at EMULATED: its first instruction is one that uprobes emulate. At NOP5: the 5-byte nop that Linux ≥ 6.18
#: turns into a call (x86-64 only; elsewhere the same as EMULATED).
_CODE = {
    "x86_64": (b"\x55\x5d\xc3", b"\x0f\x1f\x44\x00\x00\xc3"),  # push rbp; pop rbp; ret | nopl 0(rax,rax,1); ret
    "aarch64": (b"\x1f\x20\x03\xd5\xc0\x03\x5f\xd6",) * 2,  # nop; ret
}
_MFD_CLOEXEC, _MFD_EXEC = 1, 0x10  # the latter from Linux 6.3, where vm.memfd_noexec may forbid the default

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def _files(code: bytes) -> Iterator[int]:
    """Descriptors of files that hold the code, best first: in memory, else in the temporary directory."""
    for flags in (_MFD_CLOEXEC | _MFD_EXEC, _MFD_CLOEXEC):
        try:
            fd = os.memfd_create("gotap-playground", flags)
        except OSError:
            continue
        os.write(fd, code)
        yield fd
        break
    import tempfile  # and with it random, shutil and the compressors: hardly ever needed

    with tempfile.TemporaryFile() as file:
        file.write(code)
        file.flush()
        yield os.dup(file.fileno())


class Playground:
    """The page, mapped executable. OSError when no file may be mapped so, or on a foreign machine."""

    def __init__(self) -> None:
        machine = platform.machine()
        if machine not in _CODE:
            raise OSError(errno.ENOSYS, f"no machine code to try probes on for {machine}")
        emulated, nop5 = _CODE[machine]
        code = (emulated.ljust(NOP5, b"\xcc") + nop5).ljust(mmap.PAGESIZE, b"\xcc")
        self._fd = -1
        for fd in _files(code):
            address = _libc.mmap(None, len(code), mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, fd, 0)
            if address != ctypes.c_void_p(-1).value:
                self._fd, self._address = fd, address
                return
            os.close(fd)
        raise OSError(ctypes.get_errno(), "no file may be mapped executable, neither in memory nor in the temporary "
                                          "directory")

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self._fd}"

    def call(self, offset: int) -> None:
        ctypes.CFUNCTYPE(None)(self._address + offset)()

    def call_in_thread(self, offset: int) -> None:
        """From a thread that is not the process's first."""
        thread = threading.Thread(target=self.call, args=(offset,))
        thread.start()
        thread.join()

    def text(self, offset: int, size: int) -> bytes:
        """What stands there now, breakpoints included."""
        return ctypes.string_at(self._address + offset, size)

    def close(self) -> None:
        if self._fd >= 0:
            _libc.munmap(self._address, mmap.PAGESIZE)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.close()
