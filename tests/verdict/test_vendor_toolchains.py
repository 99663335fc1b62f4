"""Conditions of the compiler, the release, the libraries of its own and the system that a program is made for."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

import gobuild
from goservers import serving
from rare_toolchains import gccgo_build, linked_against_shared_runtime
from vendor_table import Seen
from verdicts import held, left_to, observed, rebuilt, releases, seen, verdict

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("able_host")]


@pytest.mark.parametrize("compiler", releases("not-gc"))
def test_gccgo(compiler: str, tmp_path: Path, table: list[Seen]) -> None:
    """Its programs hold nothing that probes could be set by; the remedy is typed with the newest Go."""
    executable = gccgo_build(gobuild.PROGRAMS / "pprofserver" / "main.go", tmp_path / "pprofserver")
    with serving(executable) as server:
        found = verdict(server.pid)
    condition, later = held(found)["not-gc"], left_to(found, "network", "not-gc")
    outcome = rebuilt(condition, gobuild.NEWEST, "pprofserver")
    table.append(seen(condition, compiler, f"`{compiler} -static-libgo main.go`", later, outcome))


@pytest.mark.matrix
@pytest.mark.parametrize("go", releases("unofficial-release"))
def test_release_candidate(go: str, table: list[Seen]) -> None:
    try:
        executable = gobuild.build("httpserver", go)
    except gobuild.BuildFailed as error:
        raise gobuild.MissingTool(f"Go {go}, a release candidate, cannot be had: {error}") from None
    with serving(executable) as server:
        found = held(verdict(server.pid))["unofficial-release"]
        watching = observed(server.pid, server.http)
    outcome = rebuilt(found, go, "httpserver")
    table.append(seen(found, go, f"`GOTOOLCHAIN=go{go} go build`", watching, outcome))


@pytest.mark.matrix
@pytest.mark.parametrize("go", releases("linkshared"))
def test_linkshared(go: str, tmp_path: Path, table: list[Seen]) -> None:
    """The runtime is in a library of its own. Without modules, as Go still builds such libraries."""
    executable = linked_against_shared_runtime(gobuild.PROGRAMS / "pprofserver" / "main.go", go, tmp_path)
    with serving(executable) as server:
        found = verdict(server.pid)
    condition, later = held(found)["linkshared"], left_to(found, "network", "linkshared")
    outcome = rebuilt(condition, go, "pprofserver")
    made = "`go install -buildmode=shared runtime sync/atomic && go build -linkshared`"
    names = {str(tmp_path): "…"}
    table.append(seen(condition, go, made, later, outcome, names))


@pytest.mark.parametrize("go", releases("windows-dynamic"))
def test_windows(go: str, table: list[Seen]) -> None:
    """Nothing that the vendor asks for on Linux is asked for of it; the remedy is that of `foreign-os`."""
    found = verdict(gobuild.build("httpserver", go, mode="cgo0", goos="windows"))
    conditions = held(found)
    assert not conditions.keys() & {"static", "cgo-disabled", "pie-without-libc", "static-cgo"}
    outcome = rebuilt(conditions["foreign-os"], go, "httpserver")
    told = replace(conditions["windows-dynamic"], remedy=conditions["foreign-os"].remedy)
    later = left_to(found, "weave", "foreign-os")
    table.append(seen(told, go, "`GOOS=windows go build`", later, outcome))

