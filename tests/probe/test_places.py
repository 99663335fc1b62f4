"""The catalogue's places in real binaries: found everywhere, on instructions that the kernel emulates."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gobuild import ALL, NEWEST, OLDEST, build
from gotap.image.code import Constant
from gotap.image.image import Image
from gotap.probe import ir
from gotap.probe.binding import Binding, BoundOperation, bind
from gotap.probe.catalogue import libraries, runtime
from gotap.probe.sources import types_of

PROGRAMS = Path(__file__).parent.parent / "programs"
VERSIONS = [one if one in (OLDEST, NEWEST) else pytest.param(one, marks=pytest.mark.matrix) for one in ALL]


def bound(path: Path) -> Binding:
    image = Image.open(path)
    return bind(image, types_of(image, runtime()), libraries(), runtime())


def operation(binding: Binding, name: str) -> BoundOperation:
    [found] = [one for one in binding.operations if one.operation.name == name]
    return found


def has_patterns(version: str) -> bool:
    return not version.startswith(("1.18", "1.19", "1.20", "1.21"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["plain", "stripped"])
def test_every_server_site_is_emulated(version: str, mode: str) -> None:
    binding = bound(build("httpserver", version, mode=mode))
    server = operation(binding, "http.server")
    assert server.output is not None
    sites = [site.site for probe in server.probes for site in probe.sites]
    assert all(site.cost.cheap for site in sites)
    kinds = {type(probe.action) for probe in server.probes}
    # Up to Go 1.21 a ServeMux does not tell what matched.
    assert kinds == ({ir.Begin, ir.Annotate, ir.End} if has_patterns(version) else {ir.Begin, ir.End})
    assert binding.spawn is not None
    assert all(site.site.cost.cheap for site in binding.spawn.sites)


@pytest.mark.parametrize("version", VERSIONS)
def test_stripping_changes_nothing_that_is_captured(version: str) -> None:
    whole, stripped = (bound(build("httpserver", version, mode=mode)) for mode in ("plain", "stripped"))
    for name in ("http.server", "http.client"):
        one, other = operation(whole, name), operation(stripped, name)
        assert one.output is not None
        assert other.output is not None
        assert [probe.name for probe in one.probes] == [probe.name for probe in other.probes]
        assert one.output.layout == other.output.layout
        assert one.output.attributes == other.output.attributes


def test_a_client_call_that_succeeds_ends_on_an_emulated_instruction() -> None:
    binding = bound(build("httpserver", NEWEST))
    [ends] = [probe for probe in operation(binding, "http.client").probes if isinstance(probe.action, ir.End)]
    no_error = ir.Input("result", 1, 0, 8, False)

    successes = [site for site in ends.sites if site.inputs[no_error] == Constant(0)]
    assert successes
    assert any(site.site.cost.cheap for site in successes)


@pytest.mark.matrix
def test_functions_that_a_profile_inlined_are_found_in_their_callers(tmp_path: Path) -> None:
    source = tmp_path / "profiled"
    shutil.copytree(PROGRAMS / "profiled", source)
    environment = os.environ | {"GOFLAGS": "-buildvcs=false"}

    def go(*words: str) -> None:
        subprocess.run(["go", "build", *words], cwd=source, env=environment, check=True, timeout=300)

    go("-o", "first", ".")
    subprocess.run([source / "first", source / "cpu.pprof"], check=True, timeout=60)
    go("-pgo=cpu.pprof", "-o", "second", ".")
    image = Image.open(source / "second")
    inlined = image.pclntab.where_inlined("net/http.(*response).finishRequest")
    binding = bound(source / "second")
    finished = {
        site.function
        for probe in operation(binding, "http.server").probes
        if "finishRequest" in probe.name
        for site in probe.sites
    }
    assert {call.caller for call in inlined} <= finished
    assert operation(binding, "http.server").output is not None
