"""What the tests of commands share: one watched server a module, Go programs of the newest release."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import gobuild
from goservers import Server, serving


@pytest.fixture(scope="session")
def httpserver() -> Path:
    return gobuild.build("httpserver", gobuild.NEWEST)


@pytest.fixture(scope="session")
def httpload() -> Path:
    return gobuild.build("httpload", gobuild.NEWEST)


@pytest.fixture(scope="session")
def hello() -> Path:
    """A Go program without net/http."""
    return gobuild.build("hello", gobuild.NEWEST)


@pytest.fixture(scope="module")
def server(httpserver: Path) -> Iterator[Server]:
    with serving(httpserver) as one:
        yield one


@pytest.fixture
def closed_port() -> str:
    """HOST:PORT at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
