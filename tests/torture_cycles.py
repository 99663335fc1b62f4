"""Attaching and detaching again and again while a server is loaded: nothing is lost, nothing is left."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpload
from goservers import Server
from torture_forks import Forks
from torture_mechanisms import Memory, NotAvailable, patches, told, via


@dataclass(slots=True)
class Cycles:
    """What came of it. `left`: how the process's memory then differs, by what; `ours`: named mappings that remain."""

    done: int = 0
    requests: int = 0
    failed: int = 0
    sites: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    ours: frozenset[str] = frozenset()


class Load:
    """Requests all the time, until it is told to stop; every one's fate is known."""

    def __init__(self, address: str, connections: int = 4) -> None:
        self._address, self._connections = address, connections
        self._stop = threading.Event()
        self.counts = httpload.Counts()
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self.counts.add(httpload.load(self._address, ["/hello", "/deep?n=200"], 400,
                                              connections=self._connections))  # fmt: skip
        except Exception as error:
            self.failure = error


def cycles(
    server: Server, forks: Forks, mechanism: str, count: int, report: Callable[[int], None] = lambda done: None
) -> Cycles:
    """Raises NotAvailable when gotap refuses the server; AssertionError when a cycle goes wrong. `report`: each one."""
    before = Memory.of(server.pid)
    found = Cycles()
    with Load(server.http) as load:
        for _ in range(count):
            with forks.started("attach", str(server.pid), *via(mechanism), "--to", "json") as gotap:
                try:
                    gotap.wait_for()
                except AssertionError:
                    if gotap.poll() is None or found.done:
                        raise
                    raise NotAvailable(told(gotap.finish())) from None
                if not found.done:
                    found.sites = patches(before, Memory.of(server.pid))
                ended = gotap.finish(signal.SIGINT)
                assert ended.code == 0, ended.err
            found.done += 1
            report(found.done)
            assert load.failure is None, f"a request failed in cycle {found.done}: {load.failure!r}"
    after = Memory.of(server.pid)
    found.requests = load.counts.sent
    found.failed = load.counts.sent - load.counts.status[200]
    found.left, found.ours = before.differences(after), after.ours
    return found
