"""Bytes to stdout or to a file that is appended to, at once and unbuffered."""

from __future__ import annotations

import os
import stat

from gotap.errors import GotapError
from gotap.sinks.writing import Stop, never, write_some


class OutputFailed(GotapError):
    """Lines can no longer be written: stdout is closed, the disk is full, the file cannot be opened."""


class Stream:
    """Waits for its reader until `stop` says otherwise. `name` is for messages."""

    def __init__(self, descriptor: int, name: str, *, owned: bool = False, stop: Stop = never) -> None:
        """`owned`: close the descriptor at the end."""
        self._descriptor = descriptor
        self._name = name
        self._owned = owned
        self._stop = stop

    @classmethod
    def stdout(cls, stop: Stop = never) -> Stream:
        return cls(1, "stdout", stop=stop)

    @classmethod
    def file(cls, path: str, stop: Stop = never) -> Stream:
        """Raises OutputFailed if it cannot be opened."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputFailed(f"cannot write to {path}: {error.strerror}", "give --to another file") from None
        end_torn_line(descriptor)
        return cls(descriptor, path, owned=True, stop=stop)

    def write(self, content: bytes) -> None:
        """Raises OutputFailed when the reader has gone, there is no room, or waiting was ended."""
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[write_some(self._descriptor, rest, self._stop) :]
            except BrokenPipeError:
                raise OutputFailed(f"{self._name} was closed by its reader") from None
            except OSError as error:
                raise OutputFailed(f"cannot write to {self._name}: {error.strerror}") from None

    def close(self) -> None:
        if self._owned and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def end_torn_line(fd: int) -> None:
    """Ends the last line of a file whose writer was killed within it."""
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size and os.pread(fd, 1, status.st_size - 1) != b"\n":
        os.write(fd, b"\n")
