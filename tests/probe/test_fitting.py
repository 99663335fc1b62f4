"""What is left of scripts and of the catalogue when some places cannot be reached."""

from __future__ import annotations

import pytest

from gotap.image.code import Cost, Site
from gotap.probe.fitting import NothingFits, offsets_of, without_functions
from gotap.probe.places import BoundSite
from gotap.probe.record import Layout
from gotap.probe.script.bound import BoundRoutine, BoundScript
from gotap.probe.script.routine import Watch


def site(offset: int, function: str) -> tuple[BoundSite, int]:
    return BoundSite(Site(0x400000 + offset, Cost.NOP5, 0), offset, {}, function), 0


def routine(number: int, *sites: tuple[BoundSite, int]) -> BoundRoutine:
    return BoundRoutine(f"probe {number}", number, Watch(Layout(f"probe{number}", number, ()), (), ()), sites)


def script(*routines: BoundRoutine) -> BoundScript:
    return BoundScript(list(routines), [], {}, {}, [])


def test_nothing_changes_where_everything_fits() -> None:
    bound = script(routine(1, site(1, "main.a"), site(2, "main.b")))
    assert offsets_of(bound) == [1, 2]
    assert without_functions(bound, {}) is bound


def test_a_function_goes_with_all_its_places_of_the_same_probe() -> None:
    entries = routine(1, site(1, "main.a"), site(2, "main.b"))
    returns = routine(1, site(3, "main.a"), site(4, "main.b"))
    other = routine(2, site(1, "main.a"), site(5, "main.c"))
    left = without_functions(script(entries, returns, other), {3: "a jump leads there"})
    assert offsets_of(left) == [2, 4, 1, 5], "another probe of the same function keeps its own place"
    assert left.notices == ["probe 1: skipped main.a, which cannot be hooked: a jump leads there"]


def test_a_probe_of_which_nothing_is_left_is_an_error() -> None:
    bound = script(routine(1, site(1, "main.a")), routine(2, site(2, "main.b")))
    with pytest.raises(NothingFits, match=r"probe 1: main\.a cannot be hooked: too short") as told:
        without_functions(bound, {1: "too short"})
    assert "--via springboard" in told.value.remedy


def test_what_the_script_needs_besides_cannot_go() -> None:
    bound = script(routine(0, site(9, "runtime.recovery")), routine(1, site(1, "main.a")))
    with pytest.raises(NothingFits, match=r"runtime\.recovery, since it is short"):
        without_functions(bound, {9: "it is short"})
