"""Calls as spans and maps as metrics, to a collector."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from gotap.commands.streams import say
from gotap.commands.trace.graph import Graph
from gotap.commands.trace.outputs import Moment
from gotap.probe.script.bound import EventKind
from gotap.signals.batch import Resource
from gotap.signals.call_trees import CallTrees
from gotap.signals.events import Events
from gotap.signals.maps import MapResult
from gotap.signals.trace_otlp import metric_of, spans_of, tree_spans
from gotap.sinks.environment import Environment, batch_settings, metric_settings, otlp_settings
from gotap.sinks.otlp import OtlpSink


class Exported:
    """Calls as spans and maps as metrics, to a collector; what is printed goes nowhere."""

    def __init__(self, sink: OtlpSink, resource: Resource, interval: float) -> None:
        """`interval`: seconds between two exports of maps."""
        self._interval = interval
        self._next = time.monotonic() + interval
        self.sink = sink
        self.resource = resource
        self._start = time.time_ns()

    def take(self, batches: Sequence[Events], moments: Sequence[Moment], maps: Mapping[Moment, MapResult]) -> None:
        rows: dict[int, list[int]] = {}
        for number, row in moments:
            if batches[number].spec.kind is EventKind.CALL:
                rows.setdefault(number, []).append(row)
        for number, chosen in rows.items():
            self.sink.export(spans_of(batches[number], chosen, self.resource))
        self.maps(list(maps.values()))

    def maps(self, results: Sequence[MapResult]) -> None:
        now = time.time_ns()
        metrics = [metric_of(result, self.resource, self._start, now) for result in results]
        self.sink.export_metrics([metric for metric in metrics if metric is not None])

    def is_due(self, now: float) -> bool:
        if now < self._next:
            return False
        self._next = now + self._interval
        return True

    def losses(self) -> Mapping[str, int]:
        return self.sink.losses()

    def close(self, timeout: float) -> None:
        self.sink.close(timeout)


class GraphExported(Exported):
    """Hands on each tree as one trace."""

    def __init__(self, sink: OtlpSink, resource: Resource, interval: float, plan: Graph) -> None:
        super().__init__(sink, resource, interval)
        self._trees = CallTrees(plan.entries, plan.roots)

    def take(self, batches: Sequence[Events], moments: Sequence[Moment], maps: Mapping[Moment, MapResult]) -> None:
        for number, row in moments:
            if (tree := self._trees.add(batches[number], row)) is not None:
                for spans in tree_spans(tree, self.resource):
                    self.sink.export(spans)


def open_exported(resource: Resource, plan: Graph | None) -> Exported:
    """As OTEL_EXPORTER_OTLP_* says. `plan`: of --graph."""
    own = Environment(dict(os.environ))
    traces, metrics = otlp_settings(own, "TRACES"), otlp_settings(own, "METRICS")
    interval = metric_settings(own).interval
    sink = OtlpSink(traces, metrics, batch_settings(own), say)
    for warning in own.warnings:
        say(warning)
    return Exported(sink, resource, interval) if plan is None else GraphExported(sink, resource, interval, plan)
