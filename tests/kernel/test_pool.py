"""Calls on a few threads: what they return and raise, how many run at once, and that none is left behind."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from gotap.kernel.pool import Pool


def test_results_are_those_of_the_calls_in_whatever_order_they_end() -> None:
    first = threading.Event()
    with Pool(2, "test") as pool:
        late = pool.start(partial(first.wait, 60))
        early = pool.start(lambda: [first.set(), "early"][1])
    assert (late.result(), early.result()) == (True, "early")


def test_no_more_run_at_once_than_allowed_and_all_have_run_at_the_end() -> None:
    running, most, lock, both = 0, 0, threading.Lock(), threading.Barrier(2, timeout=60)

    def call(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        with lock:
            running -= 1
        return number

    with Pool(2, "test") as pool:
        calls = [pool.start(partial(call, number)) for number in range(10)]
    assert [one.result() for one in calls] == list(range(10))
    assert most == 2
    assert not [one for one in threading.enumerate() if one.name == "test"]


def test_what_a_call_raises_is_raised_where_its_result_is_asked_for() -> None:
    with Pool(1, "test") as pool:
        wrong, right = pool.start(partial(int, "x")), pool.start(partial(int, "7"))
    with pytest.raises(ValueError, match="invalid literal"):
        wrong.result()
    assert right.result() == 7


def test_without_threads_calls_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Pool(2, "test") as pool:
        assert pool.start(partial(int, "7")).result() == 7
        assert pool.start(partial(int, "8")).result() == 8
