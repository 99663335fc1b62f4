"""Conditions of how a program is built: each is made, recognised, watched, and made anew as the remedy says."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import gobuild
from goservers import Server, serving
from vendor_table import EXPECTED, Seen
from verdicts import REQUESTS, held, observed, rebuilt, releases, seen, verdict, watched

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("able_host")]


@dataclass(frozen=True)
class Way:
    """How to build httpserver: as words of a command, and for gobuild.

    `shown`: conditions whose row and remedy it shows; `more`: further ones that it brings. `slow`: the whole standard
    library is built anew for it, so that it is left to --matrix.
    """

    made: str
    shown: tuple[str, ...]
    more: tuple[str, ...] = ()
    mode: str = "plain"
    flags: tuple[str, ...] = ()
    fips: str = ""
    slow: bool = False

    def build(self, go: str) -> Path:
        return gobuild.build("httpserver", go, mode=self.mode, flags=self.flags, fips=self.fips)


WAYS = (
    Way("`go build -ldflags='-s -w'`", ("stripped",), mode="stripped"),
    Way("`go build -race`", ("race",), mode="race", slow=True),
    Way("`CGO_ENABLED=0 go build`", ("static", "cgo-disabled"), mode="cgo0"),
    Way("`CGO_ENABLED=0 go build -buildmode=pie`", ("pie-without-libc",), ("cgo-disabled",), "cgo0",
        ("-buildmode=pie",)),
    Way("`go build -ldflags='-linkmode=external -extldflags=-static'`", ("static-cgo",), ("static",), "static_cgo"),
    Way("`CC=musl-gcc go build -ldflags=-linkmode=internal`", ("musl-internal-linker",),
        ("musl-dynamic", "no-musl-toolchain"), "musl", ("-ldflags=-linkmode=internal",)),
    Way("`CC=musl-gcc go build -ldflags=-linkmode=external`", ("musl-dynamic", "no-musl-toolchain"), mode="musl"),
    Way("`CC=musl-gcc go build -ldflags='-linkmode=external -extldflags=-static'`", ("musl-static",),
        ("static-cgo", "static", "no-musl-toolchain"), "musl", ("-ldflags=-linkmode=external -extldflags=-static",)),
    Way("`GOFIPS140=latest go build`", ("fips",), fips="latest"),
)  # fmt: skip


def cases() -> list[object]:
    """Each way with each release of its row; the newest by default."""
    return [
        pytest.param(
            way, go, id=f"{way.shown[0]}-{go}", marks=[pytest.mark.matrix] if way.slow or go != gobuild.NEWEST else []
        )
        for way in WAYS
        for go in EXPECTED[way.shown[0]]
    ]


@pytest.mark.parametrize(("way", "go"), cases())
def test_build(way: Way, go: str, table: list[Seen]) -> None:
    with serving(way.build(go)) as server:
        conditions = held(verdict(server.pid))
        assert conditions.keys() >= {*way.shown, *way.more}
        watching = observed(server.pid, server.http)
    for id in way.shown:
        outcome = rebuilt(conditions[id], go, "httpserver")
        table.append(seen(conditions[id], go, way.made, watching, outcome))


@pytest.mark.matrix
def test_fips_boringcrypto() -> None:
    """A module of C in place of Go's cryptography, as the vendor's case of OpenSSL has it."""
    executable = gobuild.build("httpserver", gobuild.NEWEST, mode="external", experiment="boringcrypto")
    with serving(executable) as server:
        found = held(verdict(server.pid))["fips"]
        assert "boringcrypto" in found.evidence
        observed(server.pid, server.http)
    rebuilt(found, gobuild.NEWEST, "httpserver")


@pytest.mark.parametrize("go", releases("vendored"))
def test_vendored(go: str, table: list[Seen]) -> None:
    """The server of golang.org/x/net/http2, from a vendor directory, is what its requests go through."""
    executable = gobuild.build("h2c", go, mode="vendored")
    with serving(executable) as server:
        found = held(verdict(server.pid))["vendored"]
        watching = watched(server.pid, lambda: ask_by_http_2(executable, server))
    outcome = rebuilt(found, go, "h2c", prepare="go mod vendor")
    table.append(seen(found, go, "`go mod vendor && go build`, with golang.org/x/net/http2", watching, outcome))


def ask_by_http_2(executable: Path, server: Server) -> int:
    command = [str(executable), "-client", server.url("/hello", "h2c"), "-n", str(REQUESTS)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.strip() == f"map[200:{REQUESTS}]"
    return REQUESTS


@pytest.mark.parametrize("go", releases("threadcreate-profile"))
def test_threadcreate_profile(go: str, table: list[Seen]) -> None:
    with serving(gobuild.build("pprofserver", go)) as server:
        found = held(verdict(server.pid))["threadcreate-profile"]
        watching = observed(server.pid, server.http)
    table.append(seen(found, go, "a server that imports `net/http/pprof`", watching))
