from __future__ import annotations

import random

import numpy as np
import pytest

from gotap.signals.batch import Bools, Coded, Ints, Texts
from gotap.signals.codes import combine, number, numbered, value_at


@pytest.mark.parametrize("span", [1, 5, 10_000, 2**40])
@pytest.mark.parametrize("low", [0, -3, 2**62])
def test_number_gives_equal_values_equal_codes(span: int, low: int) -> None:
    values = np.array([low + random.Random(1).randrange(span) for _ in range(100)], np.int64)
    codes, rows = number(values)
    assert (values[rows][codes] == values).all()
    assert len(rows) == len(set(values.tolist()))


def test_number_of_words_beyond_int64() -> None:
    values = np.array([2**64 - 1, 0, 2**63, 0], np.uint64)
    codes, rows = number(values)
    assert values[rows][codes].tolist() == values.tolist()


def test_nothing() -> None:
    codes, rows = number(np.zeros(0, np.int64))
    assert len(codes) == len(rows) == 0
    codes, rows = combine([(np.zeros(0, np.intp), 3)], 0)
    assert len(codes) == len(rows) == 0


@pytest.mark.parametrize("sizes", [[], [1], [3, 4], [300, 300, 300], [2**31, 2**31, 2**31, 7]])
def test_combine_tells_combinations_apart_whatever_their_number(sizes: list[int]) -> None:
    choose = random.Random(2)
    picks = [[choose.randrange(size) for _ in range(min(5, size))] for size in sizes]
    columns = [np.array([choose.choice(few) for _ in range(200)], np.intp) for few in picks]
    codes, rows = combine(zip(columns, sizes, strict=True), 200)
    expected = list(zip(*(column.tolist() for column in columns), strict=True)) or [()] * 200
    for row in range(200):
        assert expected[rows[codes[row]]] == expected[row]
    assert len(rows) == len(set(expected))


def test_numbered_and_value_at_agree_on_absence() -> None:
    present = np.array([True, False, True])
    for column, expected in (
        (Ints(np.array([7, 9, 8]), present), [7, None, 8]),
        (Bools(np.array([True, True, False]), present), [True, None, False]),
        (Coded(np.array([1, -1, 0], np.int32), ["a", "b"]), ["b", None, "a"]),
    ):
        codes, size = numbered(column)
        assert [value_at(column, row) for row in range(3)] == expected
        assert codes[1] == 0
        assert len(set(codes.tolist())) == 3
        assert max(codes) < size
    assert value_at(Texts([b"\xff"]), 0) == "\ufffd"
    with pytest.raises(TypeError):
        numbered(Texts([b"a"]))
