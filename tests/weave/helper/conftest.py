"""What the tests of the helper have for an environment, and the Go releases that each is run with."""

from __future__ import annotations

import pytest

from gobuild import NEWEST

_RELEASES = ["1.21.13", *(pytest.param(v, marks=pytest.mark.matrix) for v in ("1.22.12", "1.24.13", "1.26.8")), NEWEST]


@pytest.fixture(autouse=True, scope="module")
def environment() -> object:
    patch = pytest.MonkeyPatch()
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
