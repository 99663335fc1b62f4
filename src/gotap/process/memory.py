"""The memory of a process by /proc/PID/mem: nothing stops, and what is not mapped is None."""

from __future__ import annotations

import os
import struct
from types import TracebackType

from gotap.process.errors import not_permitted
from gotap.process.proc import Process


class Memory:
    """Reads exactly what is asked for: a buffered file would read on past the mapping's end and fail with EIO.

    Raises NotPermitted when the kernel refuses; a process that has ended has no memory (None).
    """

    def __init__(self, process: Process) -> None:
        try:
            self._descriptor = os.open(process.path("mem"), os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise not_permitted(process.pid, "mem") from None
        except OSError:
            self._descriptor = -1

    def read(self, address: int, size: int) -> bytes | None:
        """`size` bytes, or None if not all of them are mapped and readable. The process' page is faulted in."""
        if self._descriptor < 0 or not 0 <= address < 1 << 63:
            return None
        try:
            content = os.pread(self._descriptor, size, address)
        except (OSError, OverflowError):
            return None
        return content if len(content) == size else None

    def words(self, address: int, count: int, word: int = 8) -> tuple[int, ...] | None:
        """Words of 8 or 4 bytes, in the machine's byte order."""
        content = self.read(address, word * count)
        return None if content is None else struct.unpack(f"={count}{'Q' if word == 8 else 'I'}", content)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
