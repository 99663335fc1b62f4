"""What the tests on real programs share: they need a kernel that lets gotap watch, and they fill a page of the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gotap.kernel.features import essential
from vendor_table import Seen, complete, page

TABLE = pytest.StashKey[list[Seen]]()
PAGE = Path(__file__).parents[2] / "docs" / "vendor-conditions.md"


@pytest.fixture
def able_host() -> None:
    """Skips with the kernel's own words where it does not let programs be watched."""
    if missing := essential().missing():
        pytest.skip(f"{missing[0].name}: {missing[0].detail}")


@pytest.fixture
def table(request: pytest.FixtureRequest) -> list[Seen]:
    """Where a test notes what it saw."""
    return request.config.stash.setdefault(TABLE, [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With --matrix the outcome becomes a page of the docs, once all of it was seen."""
    seen = session.config.stash.get(TABLE, [])
    if session.config.getoption("--matrix") and complete(seen):
        PAGE.write_text(page(seen))
