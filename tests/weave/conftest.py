"""One cache of gotap's for all tests of weaving: what they make there is not left behind."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def gotap_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    patch = pytest.MonkeyPatch()
    patch.setenv("GOTAP_CACHE", str(tmp_path_factory.mktemp("gotap cache ä")))
    yield
    patch.undo()
