"""Programs of tests/programs woven, their spans, and how those compare with what live mechanisms see."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto

import gobuild
from otlp_server import Collector
from watching import Span
from weavecases import go, spans

_KINDS = {Proto.SPAN_KIND_SERVER: "server", Proto.SPAN_KIND_CLIENT: "client", Proto.SPAN_KIND_INTERNAL: "internal"}

#: What compares: name, kind, attributes, whether it failed, and the parent's kind and name, or why there is none.
Shown = tuple[str, str, str, bool, str]


def woven(name: str, version: str, folder: Path, *flags: str, **environment: str) -> Path:
    """A program of tests/programs, built by `gotap go build`."""
    source = folder / name
    if not source.exists():
        shutil.copytree(gobuild.PROGRAMS / name, source)
    program = folder / f"{name}-woven"
    done = go(source, "build", *flags, "-o", str(program), ".", GOTOOLCHAIN=f"go{version}", **environment)
    assert done.code == 0, done.out + done.err
    return program


def sending(collector: Collector, **more: str) -> dict[str, str]:
    """The environment of a woven program."""
    return {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none", **more}


def of_woven(collector: Collector, replaced: Mapping[str, str]) -> Counter[Shown]:
    found = spans(collector)
    own = {one.span_id: one for one in found}

    def parent(one: Proto) -> str:
        above = own.get(one.parent_span_id)
        return _above(f"{_KINDS[above.kind]} {above.name}" if above else "", one.parent_span_id.hex())

    return Counter(
        _shown(one.name, _KINDS[one.kind], {a.key: _value(a.value) for a in one.attributes},
               one.status.code == 2, parent(one), replaced)
        for one in found
    )  # fmt: skip


def of_live(found: Iterable[Span], replaced: Mapping[str, str]) -> Counter[Shown]:
    seen = list(found)
    own = {one.span_id: one for one in seen}

    def parent(one: Span) -> str:
        above = own.get(one.parent_id)
        return _above(f"{above.kind} {above.name}" if above else "", one.parent_id)

    return Counter(_shown(one.name, one.kind, one.attributes, one.error, parent(one), replaced) for one in seen)


def _above(own: str, identity: str) -> str:
    return own or ("another process" if identity else "none")


def _shown(
    name: str, kind: str, attributes: Mapping[str, object], failed: bool, parent: str, replaced: Mapping[str, str]
) -> Shown:
    """Texts that differ from run to run, such as ports, are replaced."""
    text = repr(sorted(attributes.items()))
    for old, new in replaced.items():
        text = text.replace(old, new)
    return name, kind, text, failed, parent


def _value(value: AnyValue) -> object:
    which = value.WhichOneof("value")
    return getattr(value, which) if which is not None else None
