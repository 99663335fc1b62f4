"""Parts of batches of spans. They may wait in queues for long, so a few spans do not keep the texts of all."""

from __future__ import annotations

import msgspec.structs
import numpy as np
from numpy.typing import NDArray

from gotap.signals.batch import Bools, Coded, Column, Ints, Same, Spans, Texts
from gotap.signals.codes import number


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
        name=_coded(spans.name.codes[rows], spans.name.values),
        error=spans.error[rows],
        attributes={key: _column(column, rows) for key, column in spans.attributes.items()},
    )


def _column(column: Column, rows: NDArray[np.intp] | slice) -> Column:
    if isinstance(column, Same):
        return column
    if isinstance(column, Coded):
        return _coded(column.codes[rows], column.values)
    if isinstance(column, Texts):
        return column.chosen(rows)
    if isinstance(column, Ints):
        return Ints(column.values[rows], column.present[rows])
    return Bools(column.values[rows], column.present[rows])


def _coded(codes: NDArray[np.int32], values: list[str]) -> Coded:
    """The column with values that occur, where they are more than its rows."""
    if len(values) <= len(codes):
        return Coded(codes, values)
    numbers, examples = number(codes)
    used = codes[examples]
    present = used >= 0
    table = np.where(present, present.cumsum() - 1, -1).astype(np.int32)
    return Coded(table[numbers], [values[code] for code in used[present].tolist()])
