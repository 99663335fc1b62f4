"""A few threads for system calls that take long and need no GIL: ctypes and os.close let go of it.

concurrent.futures would do, but brings logging along: 5 ms of a start, and descriptors that a detachment may not have.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """What a function returns or raises, once it has run."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._value: T

    def run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self._done.set()

    def wait(self, timeout: float) -> bool:
        """Whether it has run, for which it waits `timeout` seconds at most."""
        return self._done.wait(timeout)

    def result(self) -> T:
        """Waits for it; raises what the function raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


class Pool:
    """Runs calls in the order in which they come, on up to `limit` threads. Leaving it waits for all of them."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._calls: SimpleQueue[Call[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, function: Callable[[], T]) -> Call[T]:
        call = Call(function)
        self._calls.put(call)
        if len(self._threads) < self._limit:
            self._add_thread()
        return call

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name)
        try:
            thread.start()
        except RuntimeError:  # there can be no more: those that there are do it, or this one
            if not self._threads:
                self._calls.put(None)
                self._work()
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
