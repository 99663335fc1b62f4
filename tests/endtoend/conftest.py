"""What the end-to-end tests share: servers and clients that are built once and run once per module."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import gobuild
from goservers import Client, Server, calling, serving
from gotap.kernel.features import essential
from support_table import Seen, complete, page
from watching import Watch, watching

TABLE = pytest.StashKey[list[Seen]]()
PAGE = Path(__file__).parents[2] / "docs" / "versions.md"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "endtoend" in item.path.parts:
            item.add_marker(pytest.mark.root)


@pytest.fixture(scope="session", autouse=True)
def _able_host() -> None:
    """Skips with the kernel's own words where it does not let programs be watched."""
    if missing := essential().missing():
        pytest.skip(f"{missing[0].name}: {missing[0].detail}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With --matrix the outcome becomes a page of the docs, once all of it was seen."""
    seen = session.config.stash.get(TABLE, [])
    if session.config.getoption("--matrix") and complete(seen):
        PAGE.write_text(page(seen))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> list[Seen]:
    """Where a test notes what it saw of one build."""
    return request.config.stash.setdefault(TABLE, [])


@pytest.fixture(scope="module", params=gobuild.every_version())
def go(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(go: str) -> Iterator[Server]:
    with serving(gobuild.build("httpserver", go)) as one:
        yield one


@pytest.fixture(scope="module")
def caller(go: str) -> Iterator[Client]:
    """A client process; not watched unless a test attaches to it."""
    with calling(gobuild.build("httpserver", go)) as one:
        yield one


@pytest.fixture(scope="module")
def peer() -> Iterator[Client]:
    """A client of the newest Go, for requests to the server; never watched."""
    with calling(gobuild.build("httpserver", gobuild.NEWEST)) as one:
        yield one


@pytest.fixture(scope="module")
def module_watch(server: Server) -> Iterator[Watch]:
    with watching(server.pid) as one:
        yield one


@pytest.fixture
def watch(module_watch: Watch) -> Iterator[Watch]:
    """The server watched, with nothing left of earlier tests; what a test must not cause is checked behind it."""
    module_watch.take()
    yield module_watch
    module_watch.settle()
    assert not module_watch.losses()


@pytest.fixture
def closed_port() -> str:
    """HOST:PORT at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
