"""A file's bytes, mapped read-only: nothing is read before it is looked at, however long the file."""

from __future__ import annotations

import errno
import mmap
import os
import stat

from gotap.image.errors import ChangedFile, NotExecutable, UnreadableFile

#: Pieces of data between holes that are told apart; the rest counts as one.
_MAX_EXTENTS = 256


class FileMap(mmap.mmap):
    """A mapped file that may change under the reader's hands: see `check`, and `gotap.image.containers.bus_errors`."""

    name: str
    #: Its addresses in this process.
    first: int
    end: int
    #: A part of it could no longer be read, and is zeros since.
    is_cut: bool
    #: Where the file has data, (start, end), if it has holes: a search need not look through gigabytes of nothing.
    extents: list[tuple[int, int]] | None
    _path: str | os.PathLike[str]
    _state: tuple[int, int, int, int]

    @classmethod
    def of(cls, descriptor: int, status: os.stat_result, path: str | os.PathLike[str], name: str) -> FileMap:
        """Maps what the descriptor has open. Raises OSError."""
        from gotap.image.containers.bus_errors import address_of, guard  # it loads ctypes, which not every start needs

        mapped = cls(descriptor, 0, access=mmap.ACCESS_READ)
        mapped.name, mapped._path, mapped._state, mapped.is_cut = name, path, _state(status), False
        mapped.first = address_of(mapped)
        mapped.end = mapped.first + -(-len(mapped) // mmap.PAGESIZE) * mmap.PAGESIZE
        mapped.extents = _extents(descriptor, status)
        guard(mapped)
        return mapped

    def check(self) -> None:
        """Raises ChangedFile when what was read may not belong together: the file was cut or written to meanwhile.

        One that another file replaced is as it was: the map keeps it.
        """
        try:
            now = _state(os.stat(self._path))
        except OSError:
            now = self._state
        if self.is_cut or (now[:2] == self._state[:2] and now != self._state):
            raise ChangedFile(self.name)


def _extents(descriptor: int, status: os.stat_result) -> list[tuple[int, int]] | None:
    """None for a file without holes, and where the file system does not tell."""
    if status.st_blocks * 512 >= status.st_size:
        return None
    found: list[tuple[int, int]] = []
    at = 0
    try:
        while len(found) < _MAX_EXTENTS:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
            start, at = at, os.lseek(descriptor, at, os.SEEK_HOLE)
            found.append((start, at))
    except OSError as error:
        return found if error.errno == errno.ENXIO else None  # ENXIO: nothing but a hole follows
    return [*found, (at, status.st_size)]


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def map_file(path: str | os.PathLike[str], name: str = "") -> FileMap:
    """Maps a regular file that is not empty; `name` is what messages call it. Raises UnreadableFile, NotExecutable.

    Never waits: opening a FIFO without O_NONBLOCK would, for its writer.
    """
    name = name or os.fspath(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                kind = _kind(status.st_mode)
                raise UnreadableFile(f"{name} is {kind}, not a regular file", "name an executable file")
            if status.st_size == 0:
                raise NotExecutable(f"{name} is not an executable: it is empty", "name an executable file", "empty")
            return FileMap.of(descriptor, status, path, name)
        finally:
            os.close(descriptor)
    except (OSError, ValueError, OverflowError) as error:  # ValueError: NUL in the path
        code = error.errno if isinstance(error, OSError) else None
        remedies = {errno.EACCES: "run as root or as the file's owner", errno.EMFILE: "raise `ulimit -n`"}
        reason = os.strerror(code) if code else str(error)
        raise UnreadableFile(f"{name} cannot be read: {reason}", remedies.get(code or 0, "check the path")) from error


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((text for holds, text in kinds if holds(mode)), "something special")
