"""The OTLP/HTTP exporter: queues, batches, retries, and never blocks whoever hands it signals.

Each signal has a thread with a queue of its own: a collector that is down, slow or talks nonsense costs that thread's
time, and in the end counted drops, nothing else. Settings: gotap.sinks.environment.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Generic, TypeVar

import numpy as np
from msgspec import Struct

from gotap import __version__
from gotap.signals.batch import Spans
from gotap.signals.metrics import Histogram
from gotap.signals.points import Metric
from gotap.signals.select import select
from gotap.sinks.environment import BatchSettings, OtlpSettings
from gotap.sinks.http_answer import Answer
from gotap.sinks.http_post import Poster, PostFailed, tls_context
from gotap.sinks.otlp_answer import RETRYABLE, partial_success, refusal, retry_after
from gotap.sinks.otlp_encode import SpanEncoder, encode_metrics
from gotap.sinks.otlp_json import JsonSpans, encode_metrics_json, merged
from gotap.sinks.otlp_points import encode_metric, encode_metric_json

_Item = TypeVar("_Item")

Tell = Callable[[str], None]

#: Collections of metrics that wait at most.
_METRICS_QUEUE = 16

#: Back-off: the first wait in seconds, its growth, the longest; each wait is between half of it and all of it.
_FIRST_WAIT, _GROWTH, _LONGEST_WAIT = 0.5, 2.0, 16.0


class ExportStats(Struct):
    """What became of one signal, in spans or metric points."""

    exported: int = 0
    rejected: int = 0  # by the server, which took the rest of the request
    dropped_full: int = 0  # the queue had no room
    dropped_failed: int = 0  # refused, or the time for retries was up
    requests: int = 0
    retries: int = 0
    sent_bytes: int = 0


class _Outcome(Enum):
    DONE = auto()
    REFUSED = auto()
    TRY_AGAIN = auto()
    UNREACHABLE = auto()


class _Channel(Generic[_Item]):
    """One signal's queue and the thread that empties it. Items are weighed: an item of spans by how many it has."""

    def __init__(
        self,
        noun: str,
        settings: OtlpSettings,
        batch: BatchSettings,
        encode: Callable[[list[_Item]], bytes],
        split: Callable[[_Item, int, int], _Item],
        tell: Tell,
    ) -> None:
        self.stats = ExportStats()
        self._noun = noun
        self._settings = settings
        self._batch = batch
        self._encode = encode
        self._split = split
        self._tell = tell
        self._told: set[object] = set()
        self._queue: deque[tuple[_Item, int, float]] = deque()  # item, weight, when it came
        self._queued = 0
        self._in_flight = 0  # weight of what has left the queue and is not counted yet
        self._not_before = 0.0  # monotonic: until then the server wants to be left alone
        self._change = threading.Condition()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        tls = None
        if settings.url.lower().startswith("https"):
            tls = tls_context(settings.certificate, settings.client_certificate, settings.client_key)
        self._poster = Poster(settings.url, settings.timeout, tls)
        self._headers = {"user-agent": f"gotap/{__version__}"} | {key.lower(): value for key, value in settings.headers}
        self._headers["content-type"] = "application/json" if settings.json else "application/x-protobuf"
        if settings.gzip:
            self._headers["content-encoding"] = "gzip"
        self._thread = threading.Thread(target=self._run, name=f"otlp {noun}", daemon=True)
        self._thread.start()

    def submit(self, item: _Item, weight: int) -> None:
        """Queues what there is room for; the rest is dropped, and counted."""
        with self._change:
            room = 0 if self._stopping.is_set() else self._batch.queue - self._queued
            taken = min(weight, room)
            dropped = weight - taken
            self.stats.dropped_full += dropped
            if taken:
                kept = item if dropped == 0 else self._split(item, 0, taken)
                self._queue.append((kept, taken, time.monotonic()))
                self._queued += taken
                if self._queued >= self._batch.batch or len(self._queue) == 1:
                    self._change.notify()
        if dropped and not self._stopping.is_set():
            self._tell_once(
                "full", f"more {self._noun} than can be sent: what finds the queue full is dropped, and counted"
            )

    def stop(self) -> None:
        """Begins the end: what is queued is sent, each request is tried once more at most."""
        self._stopping.set()
        with self._change:
            self._change.notify()

    def join(self, deadline: float) -> None:
        """Waits for the end until `deadline` (monotonic); what is not sent by then is dropped."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))
        if self._thread.is_alive():
            self._abandoned.set()
            self._poster.abort()
            self._thread.join(0.5)
        with self._change:
            self.stats.dropped_failed += self._queued
            self._queue.clear()
            self._queued = 0
        self._count_failed()  # what a thread that cannot be stopped, as in a name's resolution, still holds

    def _run(self) -> None:
        while items := self._next():
            try:
                if not self._abandoned.is_set():
                    self._send(self._encode(items))
            except Exception as error:  # costs this batch, and not the thread with all that follow
                self._poster.close()  # whose exchange may have ended in the middle
                with contextlib.suppress(Exception):  # it may be telling that failed
                    self._tell_once("error", f"{self._noun} are dropped, and counted: {type(error).__name__}: {error}")
            finally:
                self._count_failed()
        self._poster.close()

    def _count_failed(self) -> None:
        """Counts what has left the queue, unless that is done."""
        with self._change:
            self.stats.dropped_failed += self._in_flight
            self._in_flight = 0

    def _patience(self) -> float | None:
        """Seconds until the next request is due, None: nothing is queued."""
        now = time.monotonic()
        if (silence := self._not_before - now) > 0:
            return silence
        if self._queued >= self._batch.batch:
            return 0.0
        return self._queue[0][2] + self._batch.delay - now if self._queue else None

    def _next(self) -> list[_Item]:
        """The next request's items: a full batch, or what has waited long enough, or at the end what there is."""
        with self._change:
            while not self._stopping.is_set():
                patience = self._patience()
                if patience is not None and patience <= 0:
                    break
                self._change.wait(patience)
            items: list[_Item] = []
            weight = 0
            while self._queue and weight < self._batch.batch:
                item, size, since = self._queue.popleft()
                room = self._batch.batch - weight
                if size > room:
                    self._queue.appendleft((self._split(item, room, size), size - room, since))
                    item, size = self._split(item, 0, room), room
                items.append(item)
                weight += size
            self._queued -= weight
            self._in_flight = weight
        return items

    def _send(self, body: bytes) -> None:
        """Sends a request until it is taken, which counts it, or refused, or out of time."""
        content = _gzip(body) if self._settings.gzip else body
        deadline = time.monotonic() + self._batch.export_timeout
        wait = _FIRST_WAIT
        while True:
            outcome, wanted = self._attempt(content)
            if outcome is _Outcome.DONE or outcome is _Outcome.REFUSED:
                return
            now = time.monotonic()
            self._not_before = now + wanted  # for the requests that follow, if this one is out of time before
            pause = max(wait * random.uniform(0.5, 1.0), wanted)
            if now + pause >= deadline or (self._stopping.is_set() and outcome is _Outcome.UNREACHABLE):
                return
            # While gotap ends, only the end of its patience cuts a wait short.
            if self._stopping.is_set():
                if self._abandoned.wait(pause):
                    return
            else:
                self._stopping.wait(pause)
            self.stats.retries += 1
            wait = min(wait * _GROWTH, _LONGEST_WAIT)

    def _attempt(self, content: bytes) -> tuple[_Outcome, float]:
        """(outcome, seconds that the server wants to be waited)."""
        where = self._poster.shown_url
        self.stats.requests += 1
        try:
            answer = self._poster.post(content, self._headers)
        except PostFailed as failure:
            self._tell_once(
                "unreachable", f"{where} cannot be reached: {failure}; gotap keeps trying, and counts what it drops"
            )
            return _Outcome.UNREACHABLE, 0.0
        self.stats.sent_bytes += len(content)
        if 200 <= answer.status < 300:
            self._count(answer)
            return _Outcome.DONE, 0.0
        if answer.status in RETRYABLE:
            self._tell_once(answer.status, f"{where} {refusal(answer)}; gotap tries again")
            return _Outcome.TRY_AGAIN, retry_after(answer) or 0.0
        self._tell_once(answer.status, f"{where} {refusal(answer)}. What it refuses is dropped, and counted")
        return _Outcome.REFUSED, 0.0

    def _count(self, answer: Answer) -> None:
        try:
            rejected, message = partial_success(answer)
        except ValueError:
            rejected, message = 0, ""
            self._tell_once(
                "nonsense",
                f"{self._poster.shown_url} answers {answer.status}, but not as OTLP does: is it a collector?",
            )
        with self._change:
            refused = min(max(rejected, 0), self._in_flight)
            self.stats.exported += self._in_flight - refused
            self.stats.rejected += refused
            self._in_flight = 0
        if rejected or message:
            where, why = self._poster.shown_url, message or "no reason given"
            self._tell_once("partial", f"{where} rejected {rejected} {self._noun}: {why}")

    def _tell_once(self, kind: object, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._tell(f"otlp: {text}")


class OtlpSink:
    """Exports spans and metrics. `tell` gets each kind of trouble once; it is called from the exporter's threads."""

    def __init__(self, traces: OtlpSettings, metrics: OtlpSettings, batch: BatchSettings, tell: Tell) -> None:
        """Raises CertificateUnusable."""
        at_once = BatchSettings(0.0, batch.export_timeout, batch=1, queue=_METRICS_QUEUE)
        self._traces = _Channel("spans", traces, batch, _spans_encoder(traces.json), _part, tell)
        self._metrics = _Channel("metrics", metrics, at_once, _metrics_encoder(metrics.json), _whole, tell)

    @property
    def stats(self) -> tuple[ExportStats, ExportStats]:
        """Of spans, and of collections of metrics."""
        return self._traces.stats, self._metrics.stats

    def export(self, spans: Spans) -> None:
        if not spans.sampled.all():
            spans = select(spans, np.flatnonzero(spans.sampled))
        if len(spans):
            self._traces.submit(spans, len(spans))

    def export_metrics(self, histograms: Sequence[Histogram | Metric]) -> None:
        if histograms:
            self._metrics.submit(histograms, 1)

    def losses(self) -> dict[str, int]:
        spans = self._traces.stats
        return {
            "export queue full": spans.dropped_full,
            "export failed": spans.dropped_failed,
            "rejected by the collector": spans.rejected,
        }

    def close(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        channels = (self._traces, self._metrics)
        for channel in channels:
            channel.stop()
        for channel in channels:
            channel.join(deadline)


def _spans_encoder(json: bool) -> Callable[[list[Spans]], bytes]:
    if json:
        writer = JsonSpans()
        return lambda items: merged([writer.encode(one) for one in items])
    encoder = SpanEncoder()
    return lambda items: b"".join([encoder.encode(one) for one in items])


def _metrics_encoder(json: bool) -> Callable[[list[Sequence[Histogram | Metric]]], bytes]:
    if json:
        return lambda items: merged([_metric_json(one) for many in items for one in many])
    return lambda items: b"".join([_metric(one) for many in items for one in many])


def _metric(one: Histogram | Metric) -> bytes:
    return encode_metric(one) if isinstance(one, Metric) else encode_metrics([one])


def _metric_json(one: Histogram | Metric) -> bytes:
    return encode_metric_json(one) if isinstance(one, Metric) else encode_metrics_json([one])


def _part(spans: Spans, start: int, stop: int) -> Spans:
    return select(spans, slice(start, stop))


def _whole(histograms: Sequence[Histogram | Metric], start: int, stop: int) -> Sequence[Histogram | Metric]:
    return histograms  # weighs 1, so there is nothing to split


def _gzip(body: bytes) -> bytes:
    """At the fastest level: on a batch of spans the default level takes twice the time to save a tenth."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()
