"""Probes of lines: `main.go:42`, with the locals that are alive there."""

from __future__ import annotations

from gotap.probe.script import tree
from gotap.probe.script.context import Context


class LineProbes:
    def __init__(self, context: Context) -> None:
        self.context = context

    def bind(self, number: int, probe: tree.Probe, spec: tree.Line) -> None:
        raise self.context.error(spec.at, "lines cannot be probed yet", "")
