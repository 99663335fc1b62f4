"""The session's own decisions, with a stand-in for the kernel's side and a clock set by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec.structs
import pytest

from gotap.bpf.codegen.frame import Counter
from gotap.commands import session as module
from gotap.commands.ends import Limits, Signals
from gotap.commands.session import Session
from gotap.commands.targets import Target, Targets
from gotap.observe.watch import Totals
from gotap.signals.batch import Resource, Spans
from gotap.signals.metrics import Histogram, Metrics
from span_samples import random_spans


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.collections: list[list[Resource]] = []

    def export(self, spans: Spans) -> None: ...

    def export_metrics(self, histograms: Sequence[Histogram]) -> None:
        self.collections.append([one.resource for one in histograms])

    def losses(self) -> Mapping[str, int]:
        return {}

    def close(self, timeout: float) -> None: ...


class Ring:
    """A ring in which `full` bytes wait; never readable."""

    size = 4 << 20

    def __init__(self) -> None:
        self.full = 0
        self._end, self._other = socket.socketpair()

    def fileno(self) -> int:
        return self._end.fileno()

    def wake(self) -> None:
        self._other.send(b"x")

    def waiting(self) -> int:
        return self.full

    def read(self) -> None:
        self.full = 0
        if self.is_readable():
            self._end.recv(100)

    def is_readable(self) -> bool:
        self._end.setblocking(False)
        try:
            return bool(self._end.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._end.close()
        self._other.close()


class Kernel:
    """Stands in for the watchers: no record comes out of it."""

    def __init__(self) -> None:
        self.ring = Ring()
        self.rings = [self.ring]
        self.reads = 0

    def records(self) -> Iterator[tuple[int, int, Any]]:
        self.reads += 1
        self.ring.read()
        return iter(())

    def detach(self, attachment: object, meanwhile: Callable[[], None]) -> int:
        meanwhile()
        return 0

    def totals(self) -> Totals:
        return Totals(dict.fromkeys(Counter, 0) | {Counter.HEAP_FULL: 5}, {}, 0, 0)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    one = Kernel()
    yield one
    one.ring.close()


@pytest.fixture
def session(kernel: Kernel) -> Iterator[Session]:
    reader, writer = socket.socketpair()
    machines = SimpleNamespace(losses=dict, via="uprobe")
    targets = SimpleNamespace(watchers=kernel, retire=lambda attachment: None, machines=machines)
    with reader, writer:
        yield Session(cast(Targets, targets), [Kept()], Metrics(), Limits(duration=10.0), 60.0, Signals(reader))


def watch(session: Session, number: int) -> Resource:
    """A target in the session that has counted something."""
    resource = Resource({"process.pid": number})
    process = SimpleNamespace(close=lambda: None)
    attachment = SimpleNamespace(number=number)
    target = SimpleNamespace(attachment=attachment, process=process, rejected=2, broken_texts=3, resource=resource)
    session.watched[number] = cast(Target, target)
    spans = msgspec.structs.replace(random_spans(number, 3), resource=resource)
    spans.attributes.clear()
    session.deliver(spans)
    return resource


def test_what_a_process_counted_goes_out_once_more_after_its_end_and_is_forgotten(session: Session) -> None:
    stays, ends = watch(session, 1), watch(session, 2)
    session.export_metrics()
    session.remove(session.watched[2])
    session.export_metrics()
    session.export_metrics()
    sink = session.sinks[0]
    assert isinstance(sink, Kept)
    assert sink.collections == [[stays, ends], [stays, ends], [stays]]


def test_exports_that_a_stopped_gotap_missed_are_not_made_up_for(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP, or a host that slept, for an hour."""
    now = [1000.0]
    waits = []
    exports: list[float] = []

    def wait(*_: object, timeout: float) -> set[int]:
        waits.append(timeout)
        now[0] += max(timeout, 0.0) + (3600.0 if len(waits) == 3 else 0.0)
        return set()

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    session.signals = cast(Signals, SimpleNamespace(wait=wait, received=[], leave=False))
    session.metrics = cast(Metrics, SimpleNamespace(collect=lambda: exports.append(now[0]) or []))  # type: ignore[func-returns-value]
    session.limits = Limits(duration=3600.0 + 150.0)
    session.run(alone=True)
    assert [one - exports[0] for one in exports] == pytest.approx([0.0, 60.0, 120.0])


def test_a_wake_up_for_what_has_been_read_does_not_keep_the_session_awake(session: Session, kernel: Kernel) -> None:
    kernel.ring.wake()
    session.wait(10.0)
    assert kernel.reads == 1
    assert not kernel.ring.is_readable()


def test_the_ring_is_read_while_one_more_target_is_opened(session: Session, kernel: Kernel) -> None:
    def open_target(pid: int, meanwhile: Callable[[], None]) -> Target:
        meanwhile()
        assert kernel.reads == 0, "too little waits to be in a hurry"
        kernel.ring.full = kernel.ring.size // 2
        meanwhile()
        assert kernel.reads == 1
        attachment = SimpleNamespace(number=1)
        return cast(Target, SimpleNamespace(attachment=attachment))

    session.targets = cast(Targets, SimpleNamespace(watchers=kernel, open=open_target))
    session.add(4711)


def test_texts_that_spans_lack_are_told(session: Session) -> None:
    watch(session, 1)
    watch(session, 2)
    session.remove(session.watched[1])
    summary = session.close()
    assert summary.left_out == {"no room in the record": 5, "not understood": 6}
    assert summary.drops == {"record not understood": 4}
