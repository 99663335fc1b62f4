"""What ends a watching from outside: limits that the user set, and signals."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from msgspec import Struct, field

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: `gotap detach` sends it to a gotap that is attached to what it is to be detached from.
_LEAVE = signal.SIGUSR1


class Limits(Struct):
    """When to stop by ourselves; None: never."""

    duration: float | None = None  # seconds
    count: int | None = None  # spans, or events


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Signals(Struct):
    """What gotap was sent so far to end it, oldest first; `wake` is readable when something has come since it was last
    read. `leave`: `gotap detach` has asked; targets are left as they are, started programs too.
    """

    wake: socket.socket
    received: list[int] = field(default_factory=list)
    leave: bool = False

    def wait(self, *others: HasFileno, timeout: float | None = None) -> set[int]:
        """Sleeps until a signal comes, one of the others is readable, or for `timeout` seconds.

        The descriptors that are readable.
        """
        poll = select.poll()
        for one in (self.wake, *others):
            poll.register(one, select.POLLIN)
        readable = {descriptor for descriptor, _ in poll.poll(None if timeout is None else max(timeout, 0.0) * 1000)}
        if self.wake.fileno() in readable:
            self.wake.recv(4096)
        return readable


@contextmanager
def noted_signals() -> Iterator[Signals]:
    """From now on SIGINT, SIGTERM, SIGHUP and SIGUSR1 are noted, and nothing is interrupted by them; restored
    afterwards."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signals = Signals(reader)

    def note(number: int, _: FrameType | None) -> None:
        if number == _LEAVE:
            signals.leave = True
        else:
            signals.received.append(number)

    old_wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    old = {number: signal.signal(number, note) for number in (*_STOP_SIGNALS, _LEAVE)}
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(old_wakeup)
        for number, handler in old.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()
