"""Plain go, gotap and Orchestrion build the same programs, each in a copy of its own; what a build costs."""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from bench.programs import NotPossible, build, folder

WOVEN = Path(__file__).parent / "programs" / "woven"
HELLO = Path(__file__).parent / "programs" / "wovenhello"
RECEIVER = Path(__file__).parent / "programs" / "receiver"

ORCHESTRION = "github.com/DataDog/orchestrion"
#: What Orchestrion weaves: its own rules and the integrations of dd-trace-go that are woven into net/http and into
#: functions with //dd:span.
INTEGRATIONS = (
    ORCHESTRION,
    "github.com/DataDog/dd-trace-go/contrib/net/http/v2",
    "github.com/DataDog/dd-trace-go/v2/ddtrace/tracer",
)
GOTAP = str(Path(sys.executable).with_name("gotap"))


@dataclass(frozen=True, slots=True)
class Spent:
    """What a command took, s: CPU time of it and of all its children, and by the clock on the wall."""

    cpu: float
    wall: float


def spent(words: list[str], directory: Path, environment: Mapping[str, str]) -> Spent:
    """Raises NotPossible with what it said if it fails."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(words, cwd=directory, env=dict(environment), capture_output=True, text=True)
    wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise NotPossible(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return Spent(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall)


@dataclass(frozen=True, slots=True)
class Source:
    """A program. `package`: what is built; `edited`: the file in which a function's body changes."""

    name: str
    root: Path
    package: str = "."
    edited: str = "main.go"


@dataclass(slots=True)
class Builder:
    """One way to build, in a copy of the program's. `go`: the words in place of `go`."""

    name: str
    go: list[str]
    source: Source
    copy: Path
    environment: dict[str, str] = field(default_factory=dict)

    def build(self, to: Path, more: Mapping[str, str] = MappingProxyType({})) -> Spent:
        """`more`: variables, GOCACHE where it is not to be the user's own."""
        environment = settings() | self.environment | dict(more)
        return spent([*self.go, "build", "-o", str(to), self.source.package], self.copy, environment)

    def edit(self, number: int) -> None:
        """Changes the body of a function of the program's own."""
        path = self.copy / self.source.edited
        text, _, _ = path.read_text().partition(_EDITED)
        path.write_text(f"{text}{_EDITED} int {{ return {number} }}\n")


_EDITED = "\nfunc edited()"


def settings() -> dict[str, str]:
    """The environment of all builds: the Go that is here, nothing of the user's own flags."""
    return dict(os.environ) | {"GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}


@functools.cache
def builders(source: Source) -> dict[str, Builder]:
    """All that can be had here; what cannot says why."""
    place = Path(folder()) / "copies" / source.name
    found = {"plain": Builder("plain", ["go"], source, _copied(source, place / "plain"))}
    found["gotap"] = Builder("gotap", [GOTAP, "go"], source, _copied(source, place / "gotap"),
                             {"GOTAP_CACHE": str(place / "cache")})  # fmt: skip
    try:
        found["Orchestrion"] = _orchestrion(source, place / "orchestrion")
    except NotPossible as reason:
        print(f"  without Orchestrion: {reason}", flush=True)
    for one in found.values():
        one.edit(0)
    return found


def _copied(source: Source, to: Path) -> Path:
    shutil.copytree(source.root, to, dirs_exist_ok=True)
    for path in [to, *to.rglob("*")]:  # what comes from the module cache is read-only
        path.chmod(path.stat().st_mode | 0o200)
    return to


@functools.cache
def orchestrion() -> str:
    """Its command, installed into a folder of the benchmark's; BENCH_ORCHESTRION names one that is there."""
    if own := os.environ.get("BENCH_ORCHESTRION"):
        return own
    bin_folder = Path(folder()) / "bin"
    spent(["go", "install", f"{ORCHESTRION}@latest"], Path(folder()), settings() | {"GOBIN": str(bin_folder)})
    return str(bin_folder / "orchestrion")


def orchestrion_version() -> str:
    return subprocess.run([orchestrion(), "version"], capture_output=True, text=True).stdout.strip()


def _orchestrion(source: Source, place: Path) -> Builder:
    """It wants its tool file and the integrations in go.mod, as its documentation says."""
    copy = _copied(source, place)
    for path in copy.rglob("*.go"):
        text = path.read_text(errors="surrogateescape")
        if "//gotap:span" in text:
            path.write_text(text.replace("//gotap:span", "//dd:span"), errors="surrogateescape")
    words = ["go", "list", "-f", "{{.Name}}", "."]
    listed = subprocess.run(words, cwd=copy, env=settings(), capture_output=True, text=True)
    imports = "".join(f'import _ "{path}"\n' for path in INTEGRATIONS)
    name = listed.stdout.strip() or "tools"
    (copy / "orchestrion.tool.go").write_text(f"//go:build tools\n\npackage {name}\n\n{imports}")
    spent(["go", "mod", "tidy"], copy, settings() | {"GOFLAGS": "-buildvcs=false -mod=mod"})
    return Builder("Orchestrion", [orchestrion(), "go"], source, copy)


@functools.cache
def executable(source: Source, name: str) -> Path:
    """The program as one of the builders makes it, built once, with the user's build cache. Raises NotPossible."""
    every = builders(source)
    if name not in every:
        raise NotPossible(f"there is no {name} here")
    to = Path(folder()) / f"{source.name}-{name}"
    every[name].build(to)
    return to


def module(path: str, version: str) -> Path:
    """A module's folder, through the module proxy."""
    words = ["go", "mod", "download", "-json", f"{path}@{version}"]
    done = subprocess.run(words, cwd=folder(), env=settings(), capture_output=True, text=True)
    if done.returncode:
        raise NotPossible(f"{path} {version} cannot be had: {done.stderr or done.stdout}")
    return Path(json.loads(done.stdout)["Dir"])


@contextmanager
def receiver() -> Iterator[str]:
    """A process that takes all that is sent to it: its address."""
    with subprocess.Popen([build(RECEIVER)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()


def sending_to(address: str) -> dict[str, str]:
    """Variables by which a woven program sends to a receiver, and one of Orchestrion's: without its other services."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}",
        "DD_TRACE_AGENT_URL": f"http://{address}",
        "DD_TRACE_STARTUP_LOGS": "false",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    }
