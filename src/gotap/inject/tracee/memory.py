"""Memory of a stopped process, read and written; also where the process itself may not write."""

from __future__ import annotations

import ctypes
import errno
import os

from gotap.inject.tracee.errors import MemoryRefused
from gotap.process import ptrace
from gotap.process.errors import unreadable

_WORD, _PAGE = 8, 4096

#: Keeps Python's lock, as process/ptrace.py does.
_libc = ctypes.PyDLL(None, use_errno=True)
for _function in (_libc.pread, _libc.pwrite):
    _function.restype = ctypes.c_ssize_t
    _function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64]
pread, close = _libc.pread, _libc.close


class TargetMemory:
    """/proc/PID/mem. Where the kernel lets nobody write through it (proc_mem.force_override=never, Linux 6.12), words
    are written by ptrace, which takes a stopped thread of it.

    `entry`: an address that is readable as long as the process does not become another program.
    """

    def __init__(self, pid: int, entry: int = 0) -> None:
        self.pid, self._entry = pid, entry
        try:
            try:
                self._descriptor = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
            except PermissionError:  # of writing alone, perhaps
                self._descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(pid, "mem", error) from None

    @property
    def is_current(self) -> bool:
        """False once execve has given up the memory that was opened: nothing of it can be read then."""
        return not self._entry or self.peek(self._entry, 1) is not None

    def peek(self, address: int, size: int) -> bytes | None:
        """`size` bytes, or None if not all of them are mapped and readable."""
        if not 0 <= address < 1 << 63:
            return None
        buffer = ctypes.create_string_buffer(size)
        return buffer.raw if pread(self._descriptor, buffer, size, address) == size else None

    def read(self, address: int, size: int) -> bytes:
        """Raises MemoryRefused."""
        content = self.peek(address, size)
        if content is None:
            raise MemoryRefused(f"process {self.pid} has no readable memory of {size} bytes at {address:#x}")
        return content

    def write(self, address: int, content: bytes, thread: int) -> None:
        """One step (process/ptrace.py), within a page. `thread`: any of its stopped ones. Raises MemoryRefused."""
        if not self.overwrite(address, content):
            self._poke(address, content, thread)

    def overwrite(self, address: int, content: bytes) -> bool:
        """Writes through /proc/PID/mem, one step; False where words must be poked. Raises MemoryRefused."""
        done = _libc.pwrite(self._descriptor, content, len(content), address)
        if done == len(content):
            ptrace.step()
            return True
        number = ctypes.get_errno() if done < 0 else errno.EFAULT
        if number not in (errno.EIO, errno.EFAULT, errno.EACCES, errno.EPERM, errno.EBADF):
            raise self._refused(address, len(content), number)
        return False

    def _poke(self, address: int, content: bytes, thread: int) -> None:
        """Up to 8 bytes within a page by one word, which need not be aligned: then nothing is ever half written."""
        first, last = address & -_WORD, (address + len(content) + _WORD - 1) & -_WORD
        if last - first > _WORD >= len(content) and address // _PAGE == (address + _WORD - 1) // _PAGE:
            first, last = address, address + _WORD
        words = bytearray(self.read(first, last - first))
        words[address - first : address - first + len(content)] = content
        for offset in range(0, len(words), _WORD):
            try:
                ptrace.poke(thread, first + offset, bytes(words[offset : offset + _WORD]))
            except OSError as error:
                raise self._refused(address, len(content), error.errno or 0) from None

    def _refused(self, address: int, size: int, number: int) -> MemoryRefused:
        return MemoryRefused(
            f"the kernel refuses to write {size} bytes at {address:#x} of process {self.pid}: {os.strerror(number)}"
        )

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
