"""Builds the Go programs under tests/programs, once per (sources, Go version, mode), with a cache that outlives a run.

Needs `go` ≥ 1.21 on the PATH; other releases come by GOTOOLCHAIN through the module proxy.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"

ALL = (
    "1.18.10",
    "1.19.13",
    "1.20.14",
    "1.21.13",
    "1.22.12",
    "1.23.12",
    "1.24.13",
    "1.25.10",
    "1.26.8",
    "1.27.4",
)
OLDEST, NEWEST = ALL[0], ALL[-1]


class MissingTool(Exception):
    """A tool that a build needs is not installed; tests/conftest.py makes a skip of it that says so."""


class BuildFailed(Exception):
    """Go refused; the text is its output."""


@dataclass(frozen=True)
class Mode:
    """How to build: flags of `go build`, additions to the environment, tools needed as (command, package)."""

    flags: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    needs: tuple[tuple[str, str], ...] = ()


_CC = (("gcc", "gcc"),)
MODES = {
    "plain": Mode(),
    "stripped": Mode(("-ldflags=-s -w",)),
    "pie": Mode(("-buildmode=pie",)),
    "pie_stripped": Mode(("-buildmode=pie", "-ldflags=-s -w")),
    "cgo0": Mode(environment=(("CGO_ENABLED", "0"),)),
    "external": Mode(("-ldflags=-linkmode=external",), (("CGO_ENABLED", "1"),), _CC),
    "static_cgo": Mode(("-ldflags=-linkmode=external -extldflags=-static",), (("CGO_ENABLED", "1"),), _CC),
    "musl": Mode(
        ("-ldflags=-linkmode=external",),
        (("CGO_ENABLED", "1"), ("CC", "musl-gcc")),
        (*_CC, ("musl-gcc", "musl-tools")),
    ),
    "race": Mode(("-race",), (("CGO_ENABLED", "1"),), _CC),
    "trimpath": Mode(("-trimpath",)),
    "vendored": Mode(("-mod=vendor",)),
}


def every_version() -> list[object]:
    """Parameters for `@pytest.mark.parametrize("go", …)`: all releases, those between oldest and newest `matrix`."""
    return [v if v in (OLDEST, NEWEST) else pytest.param(v, marks=pytest.mark.matrix) for v in ALL]


def every_mode() -> list[object]:
    """Parameters for `@pytest.mark.parametrize("mode", …)`; all but plain and pie_stripped are `matrix`."""
    return [m if m in ("plain", "pie_stripped") else pytest.param(m, marks=pytest.mark.matrix) for m in MODES]


def build(
    program: str | Path,
    go: str = "",
    *,
    mode: str = "plain",
    flags: Sequence[str] = (),
    experiment: str = "",
    goarch: str = "",
    goos: str = "",
    fips: str = "",
) -> Path:
    """The executable of tests/programs/PROGRAM (or of a directory), named as the directory.

    `go` is a release as in ALL, "" the one at hand; `flags` are further ones of `go build`; `experiment`, `goarch`,
    `goos` and `fips` are GOEXPERIMENT, GOARCH, GOOS and GOFIPS140. Raises MissingTool, BuildFailed. Safe to call from
    several processes.
    """
    source = program if isinstance(program, Path) else PROGRAMS / program
    recipe = MODES[mode]
    _check_tools(recipe)
    version = f"go{go}" if go else _local_version()
    variables = {**dict(recipe.environment), "GOEXPERIMENT": experiment, "GOARCH": goarch, "GOOS": goos}
    variables["GOFIPS140"] = fips
    variables = {name: value for name, value in variables.items() if value}
    arguments = [*recipe.flags, *flags]
    digest = _digest(source, version, *arguments, *map(str, variables.items()))
    directory = _cache() / f"{source.name}-{version}-{mode}-{digest[:16]}"
    executable = directory / source.name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not executable.exists():
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                built = _compile(source, Path(scratch), go, arguments, variables)
                built.replace(executable)
    return executable


def go_tool(go: str, *arguments: str, stdin: str = "") -> str:
    """Output of `go …` of that release, for use as an oracle."""
    command = [_go_command(go), *arguments]
    done = subprocess.run(command, env=_environment(go), input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"go {' '.join(arguments)}:\n{done.stderr}")
    return done.stdout


def compiler_listing(program: str, go: str) -> str:
    """What the compiler says of the code that it makes of a program's main package: `go build -gcflags=-S`."""
    words = [_go_command(go), "build", "-buildvcs=false", "-gcflags=-S", "-o", "/dev/null", "."]
    done = subprocess.run(words, cwd=PROGRAMS / program, env=_environment(go), capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"{' '.join(words)}:\n{done.stderr}")
    return done.stderr


def typed(go: str, command: str, directory: Path) -> None:
    """Types a command of the shell in a directory, where `go` is that release. Raises BuildFailed."""
    environment = _environment(go)
    environment["PATH"] = f"{go_tool(go, 'env', 'GOROOT').strip()}/bin:{environment['PATH']}"
    _run(["/bin/sh", "-ec", command], directory, environment)


def _compile(source: Path, scratch: Path, go: str, flags: list[str], variables: dict[str, str]) -> Path:
    environment = {**_environment(go), **variables}
    if "-mod=vendor" in flags and not (source / "vendor").exists():
        source = Path(shutil.copytree(source, scratch / "source"))
        _run([_go_command(go), "mod", "vendor"], source, environment)
    built = scratch / "built"
    # -buildvcs=false: the program must not depend on the state of this repository.
    _run([_go_command(go), "build", "-buildvcs=false", *flags, "-o", str(built), "."], source, environment)
    return built


def _run(command: list[str], directory: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)} in {directory}:\n{done.stdout}{done.stderr}")


def _environment(go: str) -> dict[str, str]:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", "GO111MODULE": "on"}
    if go.startswith("1.19."):
        # Its module index finds no main module without a dot in its path when GOROOT is in the module cache.
        environment["GODEBUG"] = "goindex=0"
    return environment


@functools.cache
def _go_command(go: str) -> str:
    """The go command of a release, which is downloaded if need be."""
    if not go:
        return "go"
    environment = {**os.environ, "GOTOOLCHAIN": f"go{go}", "GOFLAGS": ""}
    done = subprocess.run(["go", "env", "GOROOT"], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"Go {go} cannot be downloaded:\n{done.stderr}")
    return f"{done.stdout.strip()}/bin/go"


def _check_tools(recipe: Mode) -> None:
    for command, package in (("go", "go"), *recipe.needs):
        if shutil.which(command) is None:
            raise MissingTool(f"{command} is not installed (Debian package {package})")


@functools.cache
def _local_version() -> str:
    return go_tool("", "env", "GOVERSION").strip().replace(" ", "_")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gotap-tests"


def _digest(source: Path, *words: str) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        digest.update(b"\0" + bytes(path.relative_to(source)) + b"\0" + path.read_bytes())
    return digest.hexdigest()
