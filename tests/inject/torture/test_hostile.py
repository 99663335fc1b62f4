"""Hard situations: a correct attachment or a clear refusal, and a target that works on as if nothing had been."""

from __future__ import annotations

import pytest

from torture_hostile import SITUATIONS
from torture_mechanisms import every_mechanism, skip_without


@pytest.mark.root
@pytest.mark.parametrize("mechanism", every_mechanism())
@pytest.mark.parametrize("situation", SITUATIONS)
def test_it_is_right_or_refused(situation: str, mechanism: str) -> None:
    skip_without(mechanism)
    SITUATIONS[situation](mechanism)
