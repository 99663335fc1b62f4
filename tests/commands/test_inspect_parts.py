"""The lists of gotap inspect, held against `go tool nm`, `go version -m` and the compiler's own word on inlining."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gobuild
from cli import gotap
from gotap.commands.inspect_parts import matcher


def entries(*arguments: str) -> list[str]:
    """Without the line of identity."""
    done = gotap("inspect", *arguments)
    assert done.code == 0, done.err
    return done.out.decode().splitlines()[1:]


def test_functions_are_those_that_nm_knows(httpserver: Path) -> None:
    lines = entries("--functions", "^net/http.*Mux", str(httpserver))
    told = {(int(line.split()[0], 16), line.split()[2]) for line in lines}
    listing = gobuild.go_tool(gobuild.NEWEST, "tool", "nm", str(httpserver))
    symbols = (line.split(maxsplit=2) for line in listing.splitlines() if re.search(" [Tt] ", line))
    known = {(int(address, 16), name) for address, _, name in symbols}
    assert len(told) > 10
    assert told <= known


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("ServeHTTP", "net/http.(*ServeMux).ServeHTTP", True),
        ("(*ServeMux).ServeHTTP", "net/http.(*ServeMux).ServeHTTP", True),
        ("^net/http\\.", "net/http.(*ServeMux).ServeHTTP", True),
        ("^http", "net/http.(*ServeMux).ServeHTTP", False),
        ("main.apply[...]", "main.apply[...]", True),
        ("[", "main.apply[...]", True),
        ("(*", "main.run", False),
    ],
)
def test_a_pattern_is_a_text_or_a_regular_expression(pattern: str, name: str, matches: bool) -> None:
    assert matcher(pattern)(name) is matches


def test_modules_are_those_that_go_version_tells(httpserver: Path) -> None:
    told = [tuple(line.split()) for line in entries("--modules", str(httpserver))]
    listing = gobuild.go_tool(gobuild.NEWEST, "version", "-m", str(httpserver)).splitlines()
    assert told == [tuple(line.split()) for line in listing if line.split()[0] in ("mod", "dep")]


def test_where_a_function_was_inlined(httpserver: Path) -> None:
    """fmt.Println is small enough that every Go inlines it."""
    callers = {line.split(" into ")[1].split()[0] for line in entries("--inlined", "fmt.Println", str(httpserver))}
    assert callers
    assert all(caller.startswith(("main.", "net/http", "log", "testing", "flag")) for caller in callers)
    assert entries("--inlined", "main.nothing", str(httpserver)) == ["  no call of a function main.nothing was inlined"]


def test_libraries_name_sites_that_objdump_knows_as_instructions(httpserver: Path) -> None:
    lines = entries("--libraries", "-v", str(httpserver))
    assert [line.split()[:4] for line in lines if line.startswith("  ok")] == [
        ["ok", "net/http", gobuild.NEWEST, "http.server:"],
        ["ok", "net/http", gobuild.NEWEST, "http.client:"],
    ]
    sites = [int(line.split()[0], 16) for line in lines if line.strip().startswith("0x")]
    assert len(sites) >= 6
    listing = gobuild.go_tool(gobuild.NEWEST, "tool", "objdump", "-s", "^(net/http|runtime.newproc)", str(httpserver))
    instructions = {int(line.split()[1], 16) for line in listing.splitlines() if line.startswith("  ")}
    assert set(sites) <= instructions


def test_a_list_that_a_target_cannot_give_is_an_error_and_the_others_go_on(hello: Path) -> None:
    done = gotap("inspect", "--functions", "main", "/bin/sh", str(hello))
    assert done.code == 1
    assert "/bin/sh has no Go function table" in done.err
    assert "main.main" in done.out.decode()
