"""OTLP/JSON lines on stdout or in a file. A reader never finds a torn line where the file system lets us prevent it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from gotap.signals.batch import Spans
from gotap.signals.metrics import Histogram
from gotap.sinks.otlp_json import JsonSpans, encode_metrics_json
from gotap.sinks.stream import OutputFailed, end_torn_line
from gotap.sinks.writing import Stop, never, write_some

#: Bytes of lines kept after a failed write, to be tried again at the close.
_KEPT = 16 << 20


class JsonLines:
    """Writes each batch as one line, at once and unbuffered; waits for its reader until `stop` says otherwise.

    After the first failed write, which is raised as OutputFailed, lines are kept, and written by `close` if the cause
    has gone by then. `written` and `lost` count spans.
    """

    def __init__(self, fd: int, name: str, *, owned: bool = False, stop: Stop = never) -> None:
        """`name` is for messages; `owned`: close the descriptor at the end."""
        self.written = 0
        self.lost = 0
        self._fd = fd
        self._name = name
        self._owned = owned
        self._stop = stop
        self._spans = JsonSpans()
        self._kept: list[tuple[bytes, int]] = []  # lines not yet written, and their spans
        self._failed = False
        self._closed = False

    @classmethod
    def stdout(cls, stop: Stop = never) -> JsonLines:
        return cls(1, "stdout", stop=stop)

    @classmethod
    def file(cls, path: str, stop: Stop = never) -> JsonLines:
        """Appends to the file. Raises OutputFailed if it cannot be opened."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputFailed(f"cannot write to {path}: {error.strerror}", "give --to another file") from error
        end_torn_line(fd)
        return cls(fd, path, owned=True, stop=stop)

    def export(self, spans: Spans) -> None:
        if line := self._spans.encode(spans):
            self._write(line + b"\n", int(spans.sampled.sum()))

    def export_metrics(self, histograms: Sequence[Histogram]) -> None:
        if histograms:
            self._write(encode_metrics_json(histograms) + b"\n", 0)

    def losses(self) -> dict[str, int]:
        return {"not written": self.lost}

    def close(self, timeout: float) -> None:
        if self._closed:
            return
        self._closed = True
        while self._kept:
            line, count = self._kept[0]
            try:
                self._write_line(line)
            except OSError:
                break
            self.written += count
            del self._kept[0]
        self.lost += sum(count for _, count in self._kept)
        self._kept.clear()
        if self._owned:
            os.close(self._fd)

    def _write(self, line: bytes, count: int) -> None:
        if self._failed:
            self._keep(line, count)
            return
        try:
            self._write_line(line)
            self.written += count
        except OSError as error:
            self._failed = True
            self._keep(line, count)
            raise self._explained(error) from error

    def _keep(self, line: bytes, count: int) -> None:
        if sum(len(kept) for kept, _ in self._kept) + len(line) <= _KEPT:
            self._kept.append((line, count))
        else:
            self.lost += count

    def _write_line(self, line: bytes) -> None:
        """Writes all of the line; if that fails, a regular file is left as it was before."""
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[write_some(self._fd, rest, self._stop) :]
        except OSError:
            _take_back(self._fd, len(line) - len(rest))
            raise

    def _explained(self, error: OSError) -> OutputFailed:
        if error.errno == errno.EPIPE:
            return OutputFailed(f"{self._name} was closed by its reader")
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return OutputFailed(
                f"no room left to write {self._name}: {error.strerror}", "free some room, or give --to a file elsewhere"
            )
        return OutputFailed(f"cannot write to {self._name}: {error.strerror}")


def _take_back(fd: int, count: int) -> None:
    """Cuts the last bytes that we wrote off a regular file, unless somebody else has written behind them."""
    if count == 0 or not stat.S_ISREG(os.fstat(fd).st_mode):
        return
    end = os.lseek(fd, 0, os.SEEK_CUR)
    if os.fstat(fd).st_size == end:
        os.ftruncate(fd, end - count)
        os.lseek(fd, end - count, os.SEEK_SET)
