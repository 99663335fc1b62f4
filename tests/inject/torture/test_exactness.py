"""Every call is seen once, under everything that makes that hard, by every mechanism; what is not seen is told."""

from __future__ import annotations

import pytest

from gobuild import NEWEST, OLDEST
from torture_exactness import each_call, measured
from torture_mechanisms import Memory, every_mechanism, skip_without
from torture_program import BUILDS, RELEASES, torture


@pytest.fixture(params=every_mechanism())
def mechanism(request: pytest.FixtureRequest) -> str:
    skip_without(request.param)
    return str(request.param)


def cases() -> list[object]:
    """The static program of the oldest and newest Go; everything else with --matrix."""
    quick = {("static", OLDEST), ("static", NEWEST), ("PIE, stripped", NEWEST)}
    return [
        pytest.param(build, go, id=f"{build}-{go}", marks=[] if (build, go) in quick else [pytest.mark.matrix])
        for build in BUILDS
        for go in RELEASES
    ]


@pytest.mark.parametrize(("build", "go"), cases())
def test_what_is_seen_is_what_there_was(build: str, go: str, mechanism: str) -> None:
    with torture(build, go) as target:
        before = Memory.of(target.pid)
        found = measured(target, build, mechanism, 300)
        assert found.wrong == {}, found.said
        assert found.dropped == 0, found.said
        target.works()
        assert before.differences(Memory.of(target.pid)) == []


def test_events_and_drops_are_the_calls(mechanism: str) -> None:
    with torture(loaded=False) as target:
        events, drops, calls = each_call(target, mechanism, "main.text", 1000)
        assert events + drops == calls
