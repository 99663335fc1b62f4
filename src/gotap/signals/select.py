"""Parts of batches of spans."""

from __future__ import annotations

import msgspec.structs
import numpy as np
from numpy.typing import NDArray

from gotap.signals.batch import Bools, Coded, Column, Ints, Same, Spans, Texts


def select(spans: Spans, rows: NDArray[np.intp] | slice) -> Spans:
    """The spans of those rows, in that order."""
    return msgspec.structs.replace(
        spans,
        trace_id=spans.trace_id[rows],
        span_id=spans.span_id[rows],
        parent_id=spans.parent_id[rows],
        trace_state=spans.trace_state.chosen(rows),
        flags=spans.flags[rows],
        sampled=spans.sampled[rows],
        start=spans.start[rows],
        end=spans.end[rows],
        name=Coded(spans.name.codes[rows], spans.name.values),
        error=spans.error[rows],
        attributes={key: _column(column, rows) for key, column in spans.attributes.items()},
    )


def _column(column: Column, rows: NDArray[np.intp] | slice) -> Column:
    if isinstance(column, Same):
        return column
    if isinstance(column, Coded):
        return Coded(column.codes[rows], column.values)
    if isinstance(column, Texts):
        return column.chosen(rows)
    if isinstance(column, Ints):
        return Ints(column.values[rows], column.present[rows])
    return Bools(column.values[rows], column.present[rows])
