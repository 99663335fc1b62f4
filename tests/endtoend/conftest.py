"""What the end-to-end tests share: servers and clients that are built once and run once per module."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import gobuild
from goservers import Client, Server, calling, serving
from watching import Watch, watching

EDGES = [gobuild.OLDEST, gobuild.NEWEST]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "endtoend" in item.path.parts:
            item.add_marker(pytest.mark.root)


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
    """A client of the Go at hand, for requests to the server; never watched."""
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
