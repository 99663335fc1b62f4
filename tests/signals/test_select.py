"""Parts of batches: the same spans, and no more memory than they need."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gotap.signals.batch import Coded, Spans, Texts
from gotap.signals.codes import value_at
from gotap.signals.select import select
from span_samples import random_spans


def facts(spans: Spans, row: int) -> tuple[object, ...]:
    """What one span is."""
    return (
        spans.trace_id[row].tobytes(),
        spans.span_id[row].tobytes(),
        spans.parent_id[row].tobytes(),
        spans.trace_state.at(row),
        int(spans.flags[row]),
        bool(spans.sampled[row]),
        int(spans.start[row]),
        int(spans.end[row]),
        value_at(spans.name, row),
        bool(spans.error[row]),
        {key: value_at(column, row) for key, column in spans.attributes.items()},
    )


@pytest.mark.parametrize(
    "rows",
    [
        slice(0, 300),
        slice(290, 300),
        slice(100, 130),
        slice(7, 7),
        np.array([3], np.intp),
        np.array([299, 0, 41], np.intp),
        np.arange(0, 300, 2),
    ],
    ids=["all", "last", "neighbours", "none", "one", "in another order", "every other"],
)
def test_a_part_is_what_its_rows_are(rows: slice | NDArray[np.intp]) -> None:
    spans = random_spans(5, 300)
    part = select(spans, rows)
    wanted = np.arange(300)[rows].tolist()
    assert [facts(part, row) for row in range(len(part))] == [facts(spans, row) for row in wanted]


def test_a_few_spans_do_not_keep_the_texts_of_all() -> None:
    spans = random_spans(6, 2000)
    spans.attributes["url.full"] = Coded(np.arange(2000, dtype=np.int32), [f"/{one}" for one in range(2000)])
    part = select(spans, np.array([5, 900, 1700], np.intp))
    full = part.attributes["url.full"]
    assert isinstance(full, Coded)
    assert full.values == ["/5", "/900", "/1700"]
    path = part.attributes["path"]
    assert isinstance(path, Texts)
    assert len(path.heap) == int(np.maximum(path.lengths, 0).sum())


def test_neighbours_do_not_keep_the_texts_of_all() -> None:
    spans = random_spans(8, 2000)
    whole, path = spans.attributes["path"], select(spans, slice(100, 200)).attributes["path"]
    assert isinstance(whole, Texts)
    assert isinstance(path, Texts)
    assert len(path.heap) == int(np.maximum(whole.lengths[100:200], 0).sum())
    assert path.values == whole.values[100:200]


def test_most_spans_share_the_texts_of_all() -> None:
    spans = random_spans(7, 2000)
    path, whole = select(spans, slice(0, 1900)).attributes["path"], spans.attributes["path"]
    assert isinstance(path, Texts)
    assert isinstance(whole, Texts)
    assert path.heap is whole.heap
