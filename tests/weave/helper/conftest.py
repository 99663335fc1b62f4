"""One cache of built helpers for all tests, and the Go releases that each is run with."""

from __future__ import annotations

import pytest

from gobuild import NEWEST

_RELEASES = ["1.21.13", *(pytest.param(v, marks=pytest.mark.matrix) for v in ("1.22.12", "1.24.13", "1.26.8")), NEWEST]


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    patch = pytest.MonkeyPatch()
    patch.setenv("GOTAP_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("GOFLAGS", "-buildvcs=false")
    patch.setenv("GOPROXY", "off")
    patch.delenv("GOROOT", raising=False)
    yield
    patch.undo()


@pytest.fixture(params=_RELEASES)
def release(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Go commands are that release."""
    monkeypatch.setenv("GOTOOLCHAIN", f"go{request.param}")
    return str(request.param)
