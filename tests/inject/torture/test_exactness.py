"""Every call is seen once, under everything that makes that hard, by every mechanism; what is not seen is told."""

from __future__ import annotations

import pytest

from gobuild import NEWEST, OLDEST
from torture_exactness import each_call, measured
from torture_mechanisms import Memory, every_mechanism, skip_without
from torture_program import BUILDS, RELEASES, torture

#: The others of these need --matrix.
_FEW = {
    ("uprobe", "static", NEWEST),
    ("springboard", "PIE, stripped", NEWEST),
    ("hook", "static", OLDEST), ("hook", "PIE, stripped", NEWEST),
}  # fmt: skip


def cases() -> list[object]:
    found: list[object] = []
    for one in every_mechanism():
        mechanism = str(one.values[0])
        for build in BUILDS:
            for go in RELEASES:
                marks = [*one.marks, *([] if (mechanism, build, go) in _FEW else [pytest.mark.matrix])]
                found.append(pytest.param(mechanism, build, go, marks=marks, id=f"{mechanism}-{build}-{go}"))
    return found


@pytest.mark.parametrize(("mechanism", "build", "go"), cases())
def test_what_is_seen_is_what_there_was(mechanism: str, build: str, go: str) -> None:
    skip_without(mechanism)
    with torture(build, go) as target:
        before = Memory.of(target.pid)
        found = measured(target, build, mechanism, 300)
        assert found.wrong == {}, found.said
        assert found.dropped == 0, found.said
        target.works()
        assert before.differences(Memory.of(target.pid)) == []


@pytest.mark.parametrize("mechanism", every_mechanism(quick=("springboard", "hook")))
def test_events_and_drops_are_the_calls(mechanism: str) -> None:
    skip_without(mechanism)
    with torture(noises=("stacks",), loaded=False) as target:
        events, drops, calls = each_call(target, mechanism, "main.text", 500)
        assert events + drops == calls
