"""How gotap sleeps until a hook wakes it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading

_FUTEX, _FUTEX_WAIT, _FUTEX_WAKE = 202, 0, 1
#: Seconds between looks of the waiting thread whether it is to end.
_NAP = 1.0


class Sleeper:
    """A thread that sleeps where the target wakes it, and passes that on to an eventfd."""

    def __init__(self, address: int) -> None:
        """`address`: of Header.WAITING."""
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._word = ctypes.c_uint32.from_address(address)
        self._address = address
        self._ended = False
        self._thread = threading.Thread(target=self._sleep, name="gotap-ring", daemon=True)
        self._thread.start()

    def _sleep(self) -> None:
        while not self._ended:
            self._word.value = 1
            if self._ended:  # which came first; what comes now makes the word 0
                return
            self._futex(_FUTEX_WAIT, 1, ctypes.byref(_Timespec(int(_NAP), 0)))
            if not self._word.value and not self._ended:
                os.eventfd_write(self.fd, 1)

    def _futex(self, operation: int, value: int, timeout: object = None) -> None:
        ctypes.CDLL(None).syscall(ctypes.c_long(_FUTEX), ctypes.c_void_p(self._address), ctypes.c_int(operation),
                                  ctypes.c_uint32(value), timeout, None, ctypes.c_int(0))  # fmt: skip

    def awake(self) -> None:
        """What has woken the reader is dealt with."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        self._ended = True
        self._word.value = 0
        self._futex(_FUTEX_WAKE, 1)
        self._thread.join()
        os.close(self.fd)


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64)]
