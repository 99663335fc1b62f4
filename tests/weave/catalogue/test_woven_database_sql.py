"""database/sql woven: its spans are those that uprobes see of the plain program."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import gobuild
from goservers import Server, serving
from otlp_server import collector
from postgres import postgres
from sql_requests import CALLS, CONTEXTS, asked
from watching import watching
from wovenprograms import Shown, of_live, of_woven, sending, woven

VERSIONS = [
    "1.26.8",
    *(pytest.param(one, marks=pytest.mark.matrix) for one in gobuild.ALL if one >= "1.21" and one != "1.26.8"),
]
QUERIES = (
    "SELECT a, 'secret', 42 FROM t JOIN u ON t.b = u.c WHERE b IN (1, 2, $1) -- secret",
    "SELECT 'it\\'s' FROM t",
    "SELECT a FROM t WHERE b = '" + "secret" * 300 + "'",
    "SELECT " + ", ".join(f"column_{i}" for i in range(300)) + " FROM t",
    "WITH a AS (DELETE FROM b) INSERT INTO c SELECT 1",
    "-- nothing",
    "",
    "prepare it on the way",
    "fail here",
    "nested in the driver",
)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres() as source:
        yield source


def _ask_own_driver(server: Server) -> None:
    for on, do in CALLS:
        for query in QUERIES:
            asked(server, "/call", on=on, do=do, query=query, arg="x")
    for do in CONTEXTS:
        for on in ("DB", "Stmt", "Conn", "Tx"):
            for bad in (1, 2, 3):
                asked(server, "/call", on=on, do=do, query="UPDATE t SET a = 1", bad=bad)
                asked(server, "/call", on=on, do=do, query="UPDATE t SET a = 1")
            asked(server, "/call", on=on, do=do, query="wait a", canceled=1)
            asked(server, "/call", on=on, do=do, query="wait a", timeout=1)
        for on in ("ClosedDB", "ClosedConn", "DoneTx", "BrokenStmt"):
            asked(server, "/call", on=on, do=do, query="SELECT a")
    asked(server, "/quiet")
    asked(server, "/connector", query="UPDATE t SET a = 1")


def _ask_postgresql(server: Server) -> None:
    asked(server, "/call", on="DB", do="Exec", query="DROP TABLE IF EXISTS people")
    asked(server, "/call", on="DB", do="Exec", query="CREATE TABLE people (name text PRIMARY KEY, age int)")
    for on, do in CALLS:
        asked(server, "/call", on=on, do=do, query="INSERT INTO people VALUES ($1, 42)", arg=f"{on} {do}")
        if "OfTx" not in on:
            asked(server, "/call", on=on, do=do, query="INSERT INTO people VALUES ($1, 42)", arg="the same")
        asked(server, "/call", on="DB", do=do, query="SELECT \"nothing\" FROM people WHERE name = E'it\\'s'")
    asked(server, "/call", on="DB", do="ExecContext", query="SELECT 1", canceled=1)


def _ports(server: Server) -> dict[str, str]:
    return {server.http.rpartition(":")[2]: "http"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_driver_that_does_all_that_drivers_do(version: str, tmp_path: Path) -> None:
    _compare(version, tmp_path, [], postgresql=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_postgresql(version: str, tmp_path: Path, database: str) -> None:
    _compare(version, tmp_path, ["-driver=postgres", f"-source={database}"], postgresql=True)


def _compare(version: str, folder: Path, arguments: list[str], *, postgresql: bool) -> None:
    ask = _ask_postgresql if postgresql else _ask_own_driver
    with serving(gobuild.build("sqlcalls", version), *arguments) as server, watching(server.pid) as watch:
        ask(server)
        live = of_live(watch.spans(), _ports(server))
        assert not watch.losses()
    program = woven("sqlcalls", version, folder)
    with collector() as received:
        with serving(program, *arguments, environment=sending(received)) as server:
            ask(server)
            ports = _ports(server)
            server.process.terminate()
            assert server.process.wait(timeout=30) == -signal.SIGTERM
        told = of_woven(received, ports)
    assert sum(live.values()) >= 2 * len(CALLS)
    assert _differences(live, told) == ""


def _differences(live: Counter[Shown], told: Counter[Shown]) -> str:
    shown = [f"- {n} {one}" for one, n in (live - told).items()] + [f"+ {n} {one}" for one, n in (told - live).items()]
    return "\n".join(sorted(shown, key=lambda line: line[4:]))
