"""What was read of files, kept between runs by the file's identity, so that a list of processes need not read them.

The cache may vanish, be corrupted or lie where it cannot be written: then things are read again, and nothing is said.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

import gotap
from gotap.image.facts.model import Facts

T = TypeVar("T")

_MAX_BYTES = 1 << 20  # of one entry
_MAX_ENTRIES = 4096
_TEMPORARY = "tmp-"
_ABANDONED = 3600.0  # seconds after which a temporary file has lost its writer
#: A file that was changed so lately may change again without a new time: the kernel's clock for them ticks slowly.
_TOO_FRESH_NS = 100_000_000

_LOCKED = os.O_CLOEXEC | os.O_NOFOLLOW


class FileKey(NamedTuple):
    """A file and its state. The times in ns; `changed` (ctime) tells a file with a forged mtime, or another one that
    got the same inode and had its mtime set, as in the layers of container images.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def file_key(path: str | os.PathLike[str]) -> FileKey:
    """Of what the path leads to, /proc/PID/exe included. Raises OSError."""
    status = os.stat(path)
    return FileKey(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class _Entry(Struct, frozen=True, array_like=True):
    """One file of the cache; `value` is checked against `crc` before it is decoded."""

    stamp: str
    key: tuple[int, ...]
    crc: int
    value: bytes


class FileCache(Generic[T]):
    """Values of one type by FileKey. `rooms`: the packages of gotap whose code makes them; when that changes, all is
    read again, so no number must be kept in mind.

    `refused` says why the cache is off, else it is empty: a directory that others own or may write to is not trusted,
    since they could put facts about programs into it.
    """

    def __init__(self, type_: type[T], name: str, rooms: Sequence[str], directory: Path | None = None) -> None:
        self._decoder = msgspec.msgpack.Decoder(type_)
        self._encoder = msgspec.msgpack.Encoder()
        self._entries = msgspec.msgpack.Decoder(_Entry)
        self._stamp = f"{name} {_code_stamp(rooms)}"
        self._swept = False
        self.refused = ""
        self._directory = -1
        try:
            self._directory = _open_directory(directory or default_directory())
        except OSError as error:
            self.refused = f"{error.filename or 'the cache'}: {error.strerror}"

    def get(self, key: FileKey) -> T | None:
        if self._directory < 0:
            return None
        try:
            entry = self._entries.decode(self._read(self._name(key)))
            if (entry.stamp, entry.key, entry.crc) != (self._stamp, key, zlib.crc32(entry.value)):
                return None
            return self._decoder.decode(entry.value)
        except (OSError, msgspec.MsgspecError, ValueError):
            return None

    def put(self, key: FileKey, value: T) -> None:
        """Does nothing for what was changed a moment ago, and when there is no room for it."""
        encoded = self._encoder.encode(value)
        content = self._encoder.encode(_Entry(self._stamp, key, zlib.crc32(encoded), encoded))
        fresh = time.time_ns() - max(key.modified, key.changed) < _TOO_FRESH_NS
        if self._directory < 0 or fresh or len(content) > _MAX_BYTES:
            return
        with contextlib.suppress(OSError):
            self._write(self._name(key), content)
            if not self._swept:
                self._swept = True
                self._sweep()

    def look_up(self, path: str | os.PathLike[str], read: Callable[[], T]) -> T:
        """The value for that file: from the cache, else read and kept, unless the file changed meanwhile."""
        try:
            key = file_key(path)
        except OSError:
            return read()
        known = self.get(key)
        if known is not None:
            return known
        value = read()
        with contextlib.suppress(OSError):
            if file_key(path) == key:
                self.put(key, value)
        return value

    def close(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _name(self, key: FileKey) -> str:
        return hashlib.blake2b(repr((self._stamp, *key)).encode(), digest_size=16).hexdigest()

    def _read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _LOCKED, dir_fd=self._directory)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or not _is_ours(status) or status.st_size > _MAX_BYTES:
                raise PermissionError(name)
            return os.read(descriptor, status.st_size)
        finally:
            os.close(descriptor)

    def _write(self, name: str, content: bytes) -> None:
        """Whoever reads sees the old entry or the new one; after a crash of the host perhaps torn bytes: see crc."""
        temporary = f"{_TEMPORARY}{os.getpid()}-{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _LOCKED
        descriptor = os.open(temporary, flags, 0o600, dir_fd=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.rename(temporary, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._directory)
            raise

    def _sweep(self) -> None:
        """Takes away the oldest quarter when there are too many entries, and what a killed writer left."""
        aged: list[tuple[float, str]] = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    aged.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
        aged.sort()
        surplus = len(aged) - _MAX_ENTRIES * 3 // 4 if len(aged) > _MAX_ENTRIES else 0
        for index, (modified, name) in enumerate(aged):
            abandoned = name.startswith(_TEMPORARY) and time.time() - modified > _ABANDONED
            if index < surplus or abandoned:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self._directory)


def facts_cache(directory: Path | None = None) -> FileCache[Facts]:
    """Facts by the file they were read from."""
    return FileCache(Facts, "facts", ("image",), directory)


def default_directory() -> Path:
    """$XDG_CACHE_HOME/gotap, ~/.cache/gotap; for root /var/cache/gotap, unless XDG_CACHE_HOME is root's own."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = ""
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):
            if base and os.stat(base).st_uid == 0:
                return Path(base) / "gotap"
        return Path("/var/cache/gotap")
    return Path(base or Path.home() / ".cache") / "gotap"


def _open_directory(path: Path) -> int:
    """Raises OSError when it cannot be made, is a link, or others own or may write to it."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _LOCKED)
    if not _is_ours(os.fstat(descriptor)):
        os.close(descriptor)
        raise PermissionError(1, "others own it or may write to it", str(path))
    return descriptor


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _code_stamp(rooms: Sequence[str]) -> str:
    """gotap's version, and names, sizes and times of the code of these packages."""
    digest = hashlib.blake2b(gotap.__version__.encode(), digest_size=16)
    package = Path(gotap.__file__).parent
    pending = [str(package / room) for room in rooms]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir():
                    pending += [] if entry.name == "__pycache__" else [entry.path]
                else:
                    status = entry.stat()
                    digest.update(f"{entry.path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()
