"""A mapped file that gets shorter while it is read: the kernel answers a read behind its end with SIGBUS.

Left alone, the signal ends gotap. Here the rest of that mapping becomes zeros, which parsers survive like any other
bytes, and the mapping is told; whoever is done reading asks it (`FileMap.check`). The same happens when a disk or a
file server fails. Reading by read(2) instead would take a copy of every table that is now looked at where it lies.

The handler is called at the very instruction that reads, never in the middle of an allocation, so that it may be
Python: ctypes takes the interpreter's lock, which the thread has already or waits for. Compositors guard the buffers
that they share with clients in the same way (wayland-shm.c).
"""

from __future__ import annotations

import ctypes
import mmap
import signal
import weakref
from collections.abc import Callable
from typing import Any, Protocol

_PAGE = mmap.PAGESIZE
_SA_SIGINFO = 4
_PROT_READ, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS = 1, 2, 0x10, 0x20
#: Where siginfo_t has the address that was read: behind signo, errno, code, and padding where pointers have 8 bytes.
_SI_ADDR = 16 if ctypes.sizeof(ctypes.c_void_p) == 8 else 12


class Guarded(Protocol):
    """A mapping: `first` and `end` are its addresses in this process."""

    first: int
    end: int
    #: Set when a part of it became zeros.
    is_cut: bool


class _Action(ctypes.Structure):
    """struct sigaction of the C libraries on Linux: handler, mask of 1024 bits, flags, restorer."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * (1024 // (8 * ctypes.sizeof(ctypes.c_ulong)))),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]  # fmt: skip


class _Buffer(ctypes.Structure):
    """Py_buffer, as in CPython's pybuffer.h; Python's stable ABI since 3.11."""

    _fields_ = [
        ("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p),
    ]  # fmt: skip


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_guarded: weakref.WeakSet[Any] = weakref.WeakSet()
#: What SIGBUS did before, and the callback, which must live as long as it is installed.
_before = _Action()
_callback: list[Callable[..., None]] = []


def guard(mapping: Guarded) -> None:
    """From now on reads of it are survived, while there is a reference to it. Not where no callback can be made."""
    _guarded.add(mapping)
    if not _callback:
        _install()


def address_of(buffer: mmap.mmap) -> int:
    """Where it is mapped in this process."""
    view = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(view), 0)
    address: int = view.buf or 0
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
    return address


def _install() -> None:
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    try:
        callback = kind(_on_bus_error)
    except (MemoryError, OSError):  # a system that allows no memory for code made at run time
        return
    action = _Action(ctypes.cast(callback, ctypes.c_void_p), flags=_SA_SIGINFO)
    if _libc.sigaction(int(signal.SIGBUS), ctypes.byref(action), ctypes.byref(_before)) == 0:
        _callback.append(callback)


def _on_bus_error(number: int, information: int, _context: int) -> None:
    at = ctypes.c_size_t.from_address(information + _SI_ADDR).value
    for mapping in list(_guarded):
        if mapping.first <= at < mapping.end:
            page = at & -_PAGE
            flags = _MAP_PRIVATE | _MAP_FIXED | _MAP_ANONYMOUS
            if _libc.mmap(page, mapping.end - page, _PROT_READ, flags, -1, 0) == page:
                mapping.is_cut = True
                return
    # Nothing of ours: what was there before gets it when the instruction is tried again.
    _libc.sigaction(number, ctypes.byref(_before), None)
