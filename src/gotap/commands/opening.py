"""From options and environment to a session: what the host allows, sampler, sinks; and its orderly end."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gotap.bpf.codegen.tracing import Sampling
from gotap.commands.costs import CostMeter
from gotap.commands.ends import Limits, noted_signals
from gotap.commands.mechanisms import UPROBE, Machines
from gotap.commands.memory import keep_loaded
from gotap.commands.session import GATHER, Session
from gotap.commands.streams import say
from gotap.commands.targets import Targets
from gotap.observe.watchers import Watchers
from gotap.probe.convert import Param
from gotap.probe.redact import SENSITIVE_QUERY_KEYS
from gotap.signals.metrics import Metrics
from gotap.sinks.environment import (
    Environment,
    batch_settings,
    known_methods,
    metric_settings,
    otlp_settings,
    sampler,
)
from gotap.sinks.sink import Sink
from gotap.sinks.writing import Stop


@contextmanager
def open_session(arguments: argparse.Namespace, *, pane: bool = False) -> Iterator[Session]:
    """A session ready for targets; at the end everything is detached, flushed, and the summary printed."""
    keep_loaded()
    own = Environment(dict(os.environ))
    machines = Machines(arguments.via, "watch", force=arguments.force)
    settings = metric_settings(own)
    chosen = sampler(own)
    with ExitStack() as stack:
        signals = stack.enter_context(noted_signals())
        sinks: list[Sink] = []
        stack.callback(close_sinks, sinks)
        for sink in open_sinks(arguments.to or ["terminal"], own, pane=pane, stop=lambda: bool(signals.received)):
            sinks.append(sink)  # one by one: what is open is closed even if the next one cannot be opened
        for warning in own.warnings:
            say(warning)
        stack.callback(machines.close)
        watchers = Watchers(Sampling(chosen.parent_based, chosen.ratio_threshold))
        stack.callback(watchers.close)
        if machines.via == UPROBE:
            watchers.on(machines.kernel)  # what speaks against it is told before anything is attached
        meter = CostMeter()
        stack.callback(meter.close)
        session = Session(
            Targets(watchers, machines, own, conversion_options(arguments.redact, own)),
            list(sinks),
            Metrics(settings.temporality, exemplars=settings.exemplars),
            Limits(arguments.duration, arguments.count),
            settings.interval,
            signals,
            # The exporter lets spans wait for seconds (OTEL_BSP_SCHEDULE_DELAY); somebody may be looking at the others.
            gather=1.0 if arguments.to == ["otlp"] else GATHER,
        )
        session.on_tick += [meter.look, machines.look]
        try:
            yield session
        finally:
            summary = session.close()
            if session.tally.attached_at:
                say(*summary.lines())


def close_sinks(sinks: list[Sink]) -> None:
    """At once, and for good; those that a session has closed already stay closed."""
    for sink in sinks:
        sink.close(0.0)


def open_sinks(destinations: list[str], own: Environment, *, pane: bool, stop: Stop) -> Iterator[Sink]:
    """One sink for each destination, each once; a sink's module is loaded when it is asked for.

    Readers that do not read are waited for until `stop` is true.
    """
    for destination in dict.fromkeys(destinations):
        if destination == "otlp":
            from gotap.sinks.otlp import OtlpSink

            traces, metrics = otlp_settings(own, "TRACES"), otlp_settings(own, "METRICS")
            yield OtlpSink(traces, metrics, batch_settings(own), say)
        elif destination == "terminal":
            from gotap.sinks.terminal import open_terminal

            yield open_terminal(pane=pane, stop=stop)
        else:
            from gotap.sinks.json_lines import JsonLines

            yield JsonLines.stdout(stop) if destination == "json" else JsonLines.file(destination, stop)


def conversion_options(redact: list[str], own: Environment) -> dict[str, Param]:
    """Constants of conversions that the user overrides."""
    options: dict[str, Param] = {}
    if redact:
        options["sensitive"] = (*SENSITIVE_QUERY_KEYS, *redact)
    if (methods := known_methods(own)) is not None:
        options["known"] = methods
    return options
