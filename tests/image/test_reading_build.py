"""Instrumented builds, FIPS, profiles, plugins: from the settings, and from the functions where settings are gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gobuild import NEWEST, OLDEST, MissingTool, build
from gotap.image.containers.container import read_container
from gotap.image.facts.model import Facts, GoFacts
from gotap.image.facts.reading import read_facts

Source = Callable[[str], Path]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Makes a directory `program` with that main.go."""

    def make(text: str) -> Path:
        directory = tmp_path / "program"
        directory.mkdir()
        (directory / "go.mod").write_text("module example.com/program\n\ngo 1.18\n")
        (directory / "main.go").write_text(text)
        return directory

    return make


def both(path: Path) -> tuple[GoFacts, GoFacts]:
    """The facts, and those of the same program without build info."""
    content = path.read_bytes()
    at = content.index(b"\xff Go buildinf:")
    found = read_facts(path).go, read_facts(read_container(content[:at] + bytes(64) + content[at + 64 :])).go
    assert found[0] is not None
    assert found[1] is not None
    return found[0], found[1]


def instrumented(go: GoFacts) -> set[str]:
    return {name for name in ("race", "msan", "asan", "cover") if getattr(go, name)}


@pytest.mark.parametrize(
    ("go", "mode"),
    [
        (OLDEST, "race"), (OLDEST, "asan"), (NEWEST, "race"), (NEWEST, "asan"), (NEWEST, "cover"), (NEWEST, "msan"),
        *(pytest.param(go, "cover", marks=pytest.mark.matrix) for go in ("1.20.14", "1.21.13", "1.22.12", "1.24.13")),
    ],
)  # fmt: skip
def test_instrumented(go: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "msan":
        if shutil.which("clang") is None:
            raise MissingTool("clang, which alone has -fsanitize=memory, is not installed (Debian package clang)")
        monkeypatch.setenv("CC", "clang")
    path = build("hello", go, mode="race") if mode == "race" else build("hello", go, flags=[f"-{mode}"])
    for found in both(path):
        assert instrumented(found) == {mode}



DIGEST = 'package main\n\nimport "crypto/sha256"\n\nfunc main() { println(sha256.Sum256([]byte("text"))[0]) }\n'


@pytest.mark.parametrize(("module", "by_name"), [("latest", False), ("v1.0.0", True)])
def test_fips_140_module(module: str, by_name: bool, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen module has its version in its packages' paths; `latest` is what every program has."""
    monkeypatch.setenv("GOFIPS140", module)
    found, without = both(build(source(DIGEST.replace("text", module))))
    assert (found.fips, without.fips) == ("native", "native" if by_name else None)


@pytest.mark.parametrize("go", [pytest.param("1.19.13", marks=pytest.mark.matrix), NEWEST])
def test_fips_boringcrypto(go: str, source: Source) -> None:
    found, without = both(build(source(DIGEST), go, mode="external", experiment="boringcrypto"))
    assert (found.fips, without.fips) == ("boringcrypto", "boringcrypto")
    assert found.experiments == ("boringcrypto",)


OPENSSL = ("github.com/golang-fips/openssl/v2", "github.com/microsoft/go-crypto-openssl/openssl")


@pytest.mark.parametrize("path", OPENSSL)
def test_fips_openssl(path: str, source: Source) -> None:
    """The toolchains of golang-fips and Microsoft are in no registry; their bindings' package path is what tells."""
    imported = f"example.com/program/vendored/{path}"
    directory = source(f'package main\n\nimport "{imported}"\n\nfunc main() {{ openssl.Init() }}\n')
    (directory / "vendored" / path).mkdir(parents=True)
    (directory / "vendored" / path / "init.go").write_text(
        "package openssl\n\n//go:noinline\nfunc Init() { println(1) }\n"
    )
    assert [found.fips for found in both(build(directory))] == ["openssl", "openssl"]


# -- the profile threadcreate -----------------------------------------------------------------------------------

LOOKUP = 'package main\n\nimport ("os"; "runtime/pprof")\n\nfunc main() {{ pprof.Lookup({}).WriteTo(os.Stdout, 1) }}\n'


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_profile_by_name(go: str, source: Source) -> None:
    facts = read_facts(build(source(LOOKUP.format('"threadcreate"')), go))
    assert facts.go is not None
    assert facts.go.threadcreate_profile
    assert 'called with "threadcreate" at 0x' in facts.evidence["go.threadcreate_profile"]


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_profiles_of_other_names(go: str, source: Source) -> None:
    facts = read_facts(build(source(LOOKUP.format('"goroutine"')), go))
    assert facts.go is not None
    assert facts.go.threadcreate_profile is False
    assert "no call of it" in facts.evidence["go.threadcreate_profile"]


def test_profiles_served_over_http(source: Source) -> None:
    text = 'import ("net/http"; _ "net/http/pprof")\n\nfunc main() { http.ListenAndServe("127.0.0.1:0", nil) }\n'
    assert threadcreate(read_facts(build(source("package main\n\n" + text))))
    assert threadcreate(read_facts(build("httpserver"))) is False


def test_other_architectures_say_that_they_do_not_know(source: Source) -> None:
    facts = read_facts(build(source(LOOKUP.format('"threadcreate"')), mode="cgo0", goarch="arm64"))
    assert threadcreate(facts) is None
    assert "amd64 only" in facts.evidence["go.threadcreate_profile"]


def threadcreate(facts: Facts) -> bool | None:
    assert facts.go is not None
    return facts.go.threadcreate_profile


# -- plugins, vendoring, cgo ------------------------------------------------------------------------------------

PLUGINS = 'package main\n\nimport "plugin"\n\nfunc main() { _, err := plugin.Open("x.so"); println(err != nil) }\n'


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_plugin_capable(go: str, source: Source) -> None:
    directory = source(PLUGINS)
    found, without = both(build(directory, go, mode="external"))
    assert (found.plugin_capable, without.plugin_capable) == (True, True)
    # Without cgo plugin.Open only fails.
    assert both(build(directory, go, mode="cgo0"))[0].plugin_capable is False


def test_a_module_replaced_by_a_directory_is_not_vendored(source: Source) -> None:
    directory = source('package main\n\nimport "example.com/dep"\n\nfunc main() { dep.F() }\n')
    (directory / "dep").mkdir()
    (directory / "dep/go.mod").write_text("module example.com/dep\n\ngo 1.18\n")
    (directory / "dep/dep.go").write_text('package dep\n\nfunc F() { println("dep") }\n')
    (directory / "go.mod").write_text(
        "module example.com/program\n\ngo 1.18\n\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => ./dep\n"
    )
    assert both(build(directory))[0].vendored is False


def test_purego_is_no_cgo(source: Source) -> None:
    """It has crosscall2 of its own, and no runtime/cgo."""
    directory = source('package main\n\nimport "github.com/ebitengine/purego"\n\nfunc main() { purego.Call() }\n')
    (directory / "purego").mkdir()
    (directory / "purego/go.mod").write_text("module github.com/ebitengine/purego\n\ngo 1.18\n")
    (directory / "purego/call.go").write_text("package purego\n\nfunc crosscall2()\n\nfunc Call() { crosscall2() }\n")
    (directory / "purego/call.s").write_text(
        "TEXT crosscall2(SB), 4, $0-0\n\tRET\n\nTEXT ·crosscall2(SB), 4, $0-0\n\tJMP crosscall2(SB)\n"
    )
    (directory / "go.mod").write_text(
        "module example.com/program\n\ngo 1.18\n\nrequire github.com/ebitengine/purego v0.0.0\n\n"
        "replace github.com/ebitengine/purego => ./purego\n"
    )
    facts = read_facts(build(directory, mode="cgo0"))
    assert facts.go is not None
    assert facts.go.cgo is False
    assert "purego" in facts.evidence["go.cgo"]
