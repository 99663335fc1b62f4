"""Attached and detached again and again under load: no request fails, and the memory is as it was."""

from __future__ import annotations

import pytest

import gobuild
from goservers import serving
from torture_cycles import cycles
from torture_forks import forks
from torture_mechanisms import every_mechanism, skip_without


@pytest.mark.parametrize("mechanism", every_mechanism(quick=("springboard", "hook")))
def test_no_request_fails_and_nothing_is_left(mechanism: str, request: pytest.FixtureRequest) -> None:
    skip_without(mechanism)
    count = 1000 if request.config.getoption("--matrix") else 3
    with serving(gobuild.build("httpserver", gobuild.NEWEST)) as server, forks() as gotaps:
        found = cycles(server, gotaps, mechanism, count)
    assert found.done == count
    assert found.sites
    assert (found.failed, found.left) == (0, [])
