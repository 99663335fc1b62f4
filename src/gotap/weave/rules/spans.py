"""Spans for functions by patterns, `spans:` in a file of rules: what a `//gotap:span` before each of them would do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache

from msgspec.structs import replace

from gotap.weave.rules import model
from gotap.weave.rules.reading import SpanPattern, read_rules

_SPAN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "aspects", "span.yaml")
#: How the ids of their aspects begin.
PATTERN = "spans: "


def span_aspects(patterns: Sequence[SpanPattern]) -> Iterator[model.Aspect]:
    """An aspect for each pattern. Functions that have a directive of their own are left to that."""
    for one in patterns:
        selected = model.AllOf(
            of=(
                model.Function(options=(model.SymbolPattern(pattern=one.pattern),)),
                *(model.Not(of=model.Directive(name=name)) for name in ("gotap:span", "dd:span")),
            )
        )
        yield replace(
            _directive_aspect(), id=f"{PATTERN}{one.pattern}", file=one.file, line=one.line,
            join_point=model.FunctionBody(of=selected), own=True,
        )  # fmt: skip


@cache
def _directive_aspect() -> model.Aspect:
    return read_rules(_SPAN).aspects[0]
