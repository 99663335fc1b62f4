"""Suites of the standard library, plain and woven; `scripts/differential.py` runs more of them, and whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import differing
from differing import Run, Suite, Test

_CLIENT = (
    "-short",
    "-vet=off",
    "-run=^Test(Transport(Flushes|Close|Body|Round)|Client(Redirect|Head|Copy)|Server|Request|Find)",
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return differing.environment("1.26.8", GOTAP_CACHE=str(tmp_path_factory.mktemp("cache")), GOFLAGS="-buildvcs=false")


@pytest.mark.parametrize(
    "packages",
    [
        pytest.param(("database/sql", "database/sql/driver"), id="database/sql"),
        pytest.param(("log", "log/slog", "os/exec"), id="log", marks=pytest.mark.matrix),
    ],
)
def test_the_standard_library_passes_its_tests(
    packages: tuple[str, ...], tmp_path: Path, settings: dict[str, str]
) -> None:
    found = differing.examined(Suite("", packages, flags=("-short", "-vet=off")), tmp_path, settings, plain=1)
    assert found.differences == (), found.said
    assert found.same["pass"] > 100


def test_requests_differ_by_their_headers_alone(tmp_path: Path, settings: dict[str, str]) -> None:
    suite = Suite("net/http", ("net/http",), flags=_CLIENT)
    found = differing.examined(suite, tmp_path, settings, plain=1)
    assert [one.test for one in found.differences if not one.by_headers] == [], found.said
    assert ("net/http", "TestTransportFlushesBodyChunks") in {one.test for one in found.differences}
    assert found.same["pass"] > 100


def test_only_the_innermost_tests_are_told() -> None:
    plain = _run({("p", ""): "pass", ("p", "T"): "pass", ("p", "T/a"): "pass", ("q", ""): "pass", ("q", "U"): "skip"})
    woven = _run({("p", ""): "fail", ("p", "T"): "fail", ("p", "T/a"): "fail", ("q", ""): "fail"})
    found = differing.compare([plain, plain], woven)
    assert [(one.test, one.plain, one.woven) for one in found.differences] == [
        (("p", "T/a"), "pass", "fail"), (("q", "U"), "skip", ""),
    ]  # fmt: skip


def test_what_plain_runs_do_not_agree_on_is_unsteady() -> None:
    one, other = _run({("p", "T"): "pass", ("p", "U"): "fail"}), _run({("p", "T"): "fail", ("p", "U"): "fail"})
    found = differing.compare([one, other], one)
    assert (found.unsteady, found.differences, found.same) == ((("p", "T"),), (), Counter(fail=1))


def test_a_test_that_ends_its_process_is_untold() -> None:
    events = """{"Action":"run","Package":"p","Test":"T/0xc000123456"}
{"Action":"output","Package":"p","Test":"T/0xc000123456","Output":"panic: x\\n"}
{"Action":"fail","Package":"p"}
"""
    found = differing.read(events, "")
    test = "p", "T/…"
    assert (found.outcome(test), found.outcome(("p", "")), found.output[test]) == (
        differing.UNTOLD, "fail", "panic: x\n",
    )  # fmt: skip


def _run(outcomes: dict[Test, str]) -> Run:
    return Run({test: Counter([outcome]) for test, outcome in outcomes.items()})
