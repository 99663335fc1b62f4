"""gotap is killed at its steps: the target lives, and a later `gotap detach` leaves nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from torture_deaths import (
    Deaths,
    detaches,
    every_step,
    kill_observing,
    observing,
    of_detaching,
    of_observing,
    some_steps,
)
from torture_exactness import measured
from torture_forks import Forks, forks
from torture_hostile import calm
from torture_mechanisms import Memory, every_mechanism, patches, skip_without
from torture_program import Torture, torture


@pytest.fixture(params=[one for one in every_mechanism() if one.values != ("uprobe",)])
def mechanism(request: pytest.FixtureRequest) -> str:
    """The kernel takes uprobes away with whoever set them."""
    skip_without(request.param)
    return str(request.param)


@pytest.fixture
def steps(request: pytest.FixtureRequest) -> Iterator[int]:
    return every_step() if request.config.getoption("--matrix") else some_steps()


@pytest.fixture(scope="module")
def gotaps() -> Iterator[Forks]:
    with forks() as one:
        yield one


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Torture]:
    """Under little load where there is little time."""
    with torture() if request.config.getoption("--matrix") else calm() as one:
        yield one


def survived(target: Torture, mechanism: str, found: Deaths) -> None:
    assert found.left == {}
    assert found.died
    assert measured(target, "static", mechanism, 100).exact


def test_at_the_steps_of_observing(target: Torture, gotaps: Forks, mechanism: str, steps: Iterator[int]) -> None:
    survived(target, mechanism, of_observing(target, gotaps, mechanism, steps))


def test_at_the_steps_of_detaching(target: Torture, gotaps: Forks, mechanism: str, steps: Iterator[int]) -> None:
    survived(target, mechanism, of_detaching(target, gotaps, mechanism, steps))


def test_while_it_observes(target: Torture, gotaps: Forks, mechanism: str) -> None:
    """What is patched stays valid until somebody detaches, with nobody there to read."""
    before = Memory.of(target.pid)
    kill_observing(target, gotaps, mechanism)
    target.order("measure", 2000)
    assert patches(before, Memory.of(target.pid))["jump"]
    detaches(target, gotaps)
    assert before.differences(Memory.of(target.pid)) == []
    target.works()


def test_detach_asks_a_living_gotap_to_leave(target: Torture, gotaps: Forks, mechanism: str) -> None:
    before = Memory.of(target.pid)
    with observing(target, gotaps, mechanism) as gotap:
        detaches(target, gotaps)
        assert gotap.finish().code == 0, gotap.err
    assert before.differences(Memory.of(target.pid)) == []
    target.works()
