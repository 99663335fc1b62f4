"""Texts numbered in place, against numbering them one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gotap.signals import codes, texts
from gotap.signals.batch import Texts
from gotap.signals.texts import LONGEST, number_texts


def laid(values: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values one behind the other: data, starts, lengths."""
    lengths = np.array([len(one) for one in values], np.intp)
    return np.frombuffer(b"".join(values), np.uint8), lengths.cumsum() - lengths, lengths


def check(values: list[bytes], marks: list[int]) -> None:
    found, rows = number_texts(*laid(values), np.array(marks, np.intp))
    keys = list(zip(values, marks, strict=True))
    assert [keys[row] for row in rows[found].tolist()] == keys
    assert len(rows) == len(set(keys))
    assert sorted(found[rows].tolist()) == list(range(len(rows)))


@pytest.mark.parametrize("seed", range(30))
def test_equal_texts_have_one_number_and_others_have_others(seed: int) -> None:
    choose = random.Random(seed)
    longest = choose.choice([0, 1, 7, 8, 9, 40, LONGEST])
    distinct = [choose.randbytes(choose.randrange(longest + 1)) for _ in range(choose.choice([1, 3, 60, 600]))]
    values = [choose.choice(distinct) for _ in range(choose.choice([1, 30, 900]))]
    check(values, [choose.choice([0, 0, 1, 2]) for _ in values])


def test_texts_of_which_one_begins_like_the_other() -> None:
    values = [b"a" * length for length in range(LONGEST + 1)] + [b"a" * length + b"\0" for length in range(LONGEST)]
    check(values * 2, [0] * 2 * len(values))


def test_all_the_same_and_all_different() -> None:
    check([b"/hello"] * 500, [0] * 500)
    check([b"/%d" % one for one in range(5000)], [0] * 5000)


def test_places_and_hashes_that_meet_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a multiplier of 0 all hashes are one."""
    for module in (codes, texts):
        monkeypatch.setattr(module, "MULTIPLIER", np.uint64(0))
    check([b"/%d" % (one % 17) for one in range(300)], [one % 2 for one in range(300)])
    values = np.arange(300) % 19 * 10**12
    found, rows = codes.number(values)
    assert (values[rows][found] == values).all()
    assert len(rows) == 19


class TestColumn:
    VALUES = (b"a", None, b"", "é".encode(), b"x" * 3000)

    def test_of_values(self) -> None:
        column = Texts(self.VALUES)
        assert column.values == list(self.VALUES)
        assert [column.at(row) for row in range(5)] == list(self.VALUES)
        assert column.pieces() == [one or b"" for one in self.VALUES]
        assert column.any()

    def test_rows_of_it(self) -> None:
        column = Texts(self.VALUES)
        assert column.chosen(slice(1, 4)).values == list(self.VALUES[1:4])
        assert column.chosen(np.array([4, 1, 0])).values == [self.VALUES[4], None, b"a"]

    def test_nothing(self) -> None:
        assert Texts([]).values == []
        assert not Texts([]).any()
        assert Texts.none(3).values == [None] * 3
        assert not Texts.none(3).any()
