"""Which tests run: `matrix` only with --matrix, `root` only as root; a missing tool skips and says which."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from gobuild import MissingTool


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--matrix", action="store_true", help="also run what is marked `matrix`: all Go versions and modes"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--matrix"):
        left_out = [item for item in items if item.get_closest_marker("matrix")]
        items[:] = [item for item in items if not item.get_closest_marker("matrix")]
        config.hook.pytest_deselected(items=left_out)
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: run the tests as root"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _missing_tool_skips())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    return (yield from _missing_tool_skips())


def _missing_tool_skips() -> Generator[None, object, object]:
    try:
        return (yield)
    except MissingTool as error:
        pytest.skip(str(error))
