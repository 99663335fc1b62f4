"""Files within another process' root directory. No symbolic link, `..` or race can lead outside of it."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

_libc = ctypes.CDLL(None, use_errno=True)

#: openat2(2), Linux ≥ 5.6: the same number on all architectures but alpha. RESOLVE_* are of linux/openat2.h.
_OPENAT2 = 437
_NO_MAGICLINKS, _IN_ROOT = 0x02, 0x10
_MAX_LINKS = 40  # as the kernel's MAXSYMLINKS


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_root(proc: str) -> int:
    """A descriptor of the root directory of the process. Raises OSError; EACCES without the right to ptrace it."""
    return os.open(f"{proc}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_in_root(root: int, path: str) -> int:
    """An O_PATH descriptor of what `path` means to a process whose root directory is `root`. Raises OSError.

    Nothing is opened yet: O_PATH neither waits for the writer of a FIFO nor wakes a device.
    """
    try:
        return _openat2(root, path)
    except OSError as error:
        # ENOSYS: an old kernel; EPERM: a container's seccomp filter that does not know the call.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return walk(root, path)


def open_regular(root: int, path: str) -> int:
    """A descriptor for reading a regular file; any other kind is OSError EINVAL."""
    found = open_in_root(root, path)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        os.close(found)


def names_in_root(root: int, path: str) -> list[str]:
    """What a directory holds; empty when there is none or it may not be read."""
    try:
        found = open_in_root(root, path)
    except OSError:
        return []
    try:
        return sorted(os.listdir(f"/proc/self/fd/{found}"))
    except OSError:
        return []
    finally:
        os.close(found)


def _openat2(root: int, path: str) -> int:
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _IN_ROOT | _NO_MAGICLINKS)
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    while True:
        found = int(_libc.syscall(ctypes.c_long(_OPENAT2), ctypes.c_int(root), ctypes.c_char_p(encoded),
                                  ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))))  # fmt: skip
        if found >= 0:
            return found
        number = ctypes.get_errno()
        # EAGAIN: something was renamed during the walk and the kernel could not be sure about a `..`.
        if number not in (errno.EAGAIN, errno.EINTR):
            raise OSError(number, os.strerror(number), path)


def walk(root: int, path: str) -> int:
    """As open_in_root, by hand: each name is opened without following, links are read and `..` goes back on our own
    stack of descriptors, so that a directory that is moved away meanwhile leads nowhere else.
    """
    pending = path.split("/")[::-1]
    stack = [os.dup(root)]
    links = 0
    try:
        while pending:
            name = pending.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if not stat.S_ISDIR(os.fstat(stack[-1]).st_mode):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            if not stat.S_ISLNK(os.fstat(found).st_mode):
                stack.append(found)
                continue
            links += 1
            target = _read_link(found)
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            pending += target.split("/")[::-1]
        return stack.pop()
    finally:
        for descriptor in stack:
            os.close(descriptor)


def _read_link(descriptor: int) -> str:
    """Closes it. Magic links (/proc/PID/fd/N) are followed by their text, as ordinary ones."""
    try:
        return os.readlink("", dir_fd=descriptor)
    finally:
        os.close(descriptor)
