"""A file's bytes, mapped read-only: nothing is read before it is looked at, however long the file."""

from __future__ import annotations

import errno
import mmap
import os
import stat

from gotap.image.errors import NotExecutable, UnreadableFile


def map_file(path: str | os.PathLike[str], name: str = "") -> mmap.mmap:
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
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
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
