"""A pytest plugin: the outcome of each Go version in each build mode as a table, from tests/endtoend/test_modes.py.

`make test-matrix` loads it (`-p matrix_table`). When every version ran in every mode, it writes docs/versions.md.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

import gobuild

PAGE = Path(__file__).resolve().parent.parent / "docs" / "versions.md"

_TEST = re.compile(r"test_modes\.py::test_spans_in_every_mode\[(?P<go>[\d.]+)-(?P<mode>\w+)\]$")
_SHOWN = {"passed": "yes", "failed": "**no**", "skipped": "not built"}

_HEAD = """# Go versions and build modes

Written by `make test-matrix`. Each cell is a program that serves and calls HTTP under the real kernel: every request
gave one span, with status, route, parent and panic as they should be. *not built*: that version cannot build that mode,
or a tool for it was missing.
"""
_MODES = {
    "plain": "plain",
    "stripped": "`-s -w`",
    "pie": "PIE",
    "pie_stripped": "PIE `-s -w`",
    "cgo0": "`CGO_ENABLED=0`",
    "external": "external linking",
    "static_cgo": "static cgo",
    "musl": "musl",
    "race": "`-race`",
    "trimpath": "`-trimpath`",
    "vendored": "vendored",
}

_outcomes: dict[tuple[str, str], str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    match = _TEST.search(report.nodeid)
    if match and (report.when == "call" or report.outcome != "passed"):
        _outcomes[match["go"], match["mode"]] = report.outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _outcomes:
        return
    shown = table(_outcomes)
    terminalreporter.section("Go versions and build modes")
    terminalreporter.write_line(shown)
    if len(_outcomes) == len(gobuild.ALL) * len(gobuild.MODES):
        PAGE.write_text(f"{_HEAD}\n{shown}\n\nLinux {platform.release().split('-')[0]}, amd64.\n")
        terminalreporter.write_line(f"written to {PAGE.name}")


def table(outcomes: Mapping[tuple[str, str], str]) -> str:
    """Markdown: a row for each Go version; a cell that did not run is empty."""
    rows = [["Go", *(_MODES.get(mode, mode) for mode in gobuild.MODES)], ["---"] * (1 + len(gobuild.MODES))]
    for go in gobuild.ALL:
        rows.append([go, *(_SHOWN.get(outcomes.get((go, mode), ""), "") for mode in gobuild.MODES)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
