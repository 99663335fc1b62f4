"""`go install PACKAGE@VERSION` and `go run PACKAGE@VERSION`: the module that has the packages is built by itself, and
whatever go.mod is around does not count (`go help install`; load.PackagesAndErrorsOutsideModule, Go 1.21 to 1.27).

It gets a go.mod in gotap's cache that requires it, with the versions that `go get` takes, which are those that the go
command takes by itself; and a go.work, which GOWORK can name from anywhere.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gotap.weave.arguments import ELSEWHERE, CommandLine, goflags_without, split_goflags
from gotap.weave.cache import cache_folder, digest, made
from gotap.weave.errors import NotComposable, Unresolved
from gotap.weave.toolchain import Toolchain, ask, find_toolchain, release_of

_FORMAT = "1"
_FOLDER, _RESOLVED = "versions", "resolved.json"

#: The Go that there are workspaces from.
_LEAST = "1.18"
_MOD = f"module gotap.invalid\n\ngo {_LEAST}\n"
_EXACT = re.compile(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+incompatible)?")
#: What a go command says that is not new enough (toolchain.Switcher, Go 1.21 to 1.27).
_SWITCHED = re.compile(r"; switching to (go\S+)$", re.MULTILINE)

#: Programs whose module does not say which Go it wants get the GODEBUG of this one (load.defaultGODEBUG).
_DEFAULT = "1.20"
#: The first Go whose go.work may say which GODEBUG programs get.
_GODEBUG_LINES = (1, 23)

#: What `go list` tells of the packages that were named, with tabs between.
_TOLD = (
    "{{if not .DepOnly}}{{.ImportPath}}\t{{.Name}}\t"
    "{{with .Module}}{{.Path}}\t{{.Version}}\t{{.GoMod}}\t{{.GoVersion}}{{end}}{{end}}"
)


class Resolved(Struct, frozen=True):
    """`programs`: import paths, none if the go command refuses to build them; `version`: of their module, as its folder
    is named; `steady`: whether they get the GODEBUG that the module asks for; `folder`: of go.mod and go.work;
    `environment`: by which a go command sees the module, wherever it runs, and is as new as it has to be."""

    programs: tuple[str, ...]
    version: str
    steady: bool = True
    folder: str = ""
    environment: Mapping[str, str] = {}


class _Go(Struct, frozen=True):
    path: str
    environment: Mapping[str, str]

    def __call__(self, folder: Path, *words: str) -> str:
        """What a go command prints. Raises Unresolved."""
        return self.run(folder, *words).stdout

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Raises Unresolved."""
        done = subprocess.run([self.path, *words], cwd=folder, capture_output=True, text=True, errors="replace",
                              env=self.environment)  # fmt: skip
        if done.returncode:
            raise Unresolved(
                f"`go {words[0]}` cannot resolve what is to be built:\n{done.stderr.strip()}",
                "the go command says the same without gotap: mend it there first",
            )
        return done


def version_of(line: CommandLine) -> str | None:
    """The version that packages are to be of, as in `v1.2.3` or `latest`; None: they are of the modules around."""
    named = line.packages if line.verb == "install" else line.packages[:1] if line.verb == "run" else ()
    for one in named:
        if "@" in one and not one.startswith((".", "/")) and not one.endswith(".go"):
            return one.partition("@")[2]
    return None


def is_resolved(go_mod: str) -> bool:
    """Whether a go.mod is one of those that are made here."""
    return Path(go_mod).parent.parent == cache_folder() / _FOLDER


def resolve(line: CommandLine, directory: str) -> Resolved:
    """What a command builds. Raises NoGo, UnsupportedGo, CacheError, NotComposable, Unresolved."""
    version = version_of(line) or ""
    here = find_toolchain(directory)
    goflags = here.variables["GOFLAGS"]
    names = {flag.name for flag in (*line.flags, *split_goflags(goflags))}
    if not version or "modfile" in names or any(not one.endswith(f"@{version}") for one in line.packages):
        return Resolved((), version)
    if "overlay" in names:
        raise NotComposable(f"-overlay is not woven together with @{version}", "leave it out, or build in the module")
    chosen = _at_least(here, directory)
    settings = {"GOWORK": "off", "GOFLAGS": goflags_without(goflags, ELSEWHERE), **chosen}
    go = _Go(here.go, {**os.environ, **settings})
    packages = [one.removesuffix(f"@{version}") for one in line.packages]
    loading = line.loading(ELSEWHERE)
    if not _EXACT.fullmatch(version):
        with tempfile.TemporaryDirectory(prefix="gotap-") as name:
            version = _resolved(Path(name), go, packages, version, loading).version
    decisive = [here.variables[name] for name in ("GOOS", "GOARCH", "CGO_ENABLED", "GOEXPERIMENT", "GOFLAGS")]
    key = digest(_FORMAT, here.version, *chosen.values(), version, *packages, "", *loading, "", *decisive)

    def fill(fresh: Path) -> None:
        (fresh / _RESOLVED).write_bytes(msgspec.json.encode(_resolved(fresh, go, packages, version, loading)))

    folder = made(cache_folder() / _FOLDER / key[:20], fill)
    found = msgspec.json.decode((folder / _RESOLVED).read_bytes(), type=Resolved)
    return replace(found, folder=str(folder), environment={"GOWORK": str(folder / "go.work"), **chosen})


def _at_least(here: Toolchain, directory: str) -> dict[str, str]:
    """GOTOOLCHAIN, where it lets the go command choose: a Go as new as it is where the command runs, which the module
    may want to be newer (toolchain.Select)."""
    least, _, how = ask(here.go, ["env", "GOTOOLCHAIN"], directory).strip().partition("+")
    how = how or (least if least in ("auto", "path") else "")
    return {"GOTOOLCHAIN": f"{here.version}+{how}"} if how else {}


def _resolved(folder: Path, go: _Go, packages: Sequence[str], version: str, loading: Sequence[str]) -> Resolved:
    """Makes go.mod, go.sum and go.work in a folder. Raises Unresolved."""
    (folder / "go.mod").write_text(_MOD)
    got = go.run(folder, "get", "--", *(f"{one}@{version}" for one in packages))
    text = (folder / "go.mod").read_text()
    if (newer := _SWITCHED.search(got.stderr)) and "\ntoolchain " not in text:
        (folder / "go.mod").write_text(f"{text}\ntoolchain {newer[1]}\n")
    told = go(folder, "list", "-mod=mod", "-deps", f"-f={_TOLD}", *loading, "--", *packages)  # go.sum gets it all
    named = [line.split("\t") for line in told.splitlines() if line]
    programs = tuple(path for path, name, *_ in named if name == "main")
    modules = {tuple(module) for _, _, *module in named}
    path, own, go_mod, wanted = modules.pop() if len(modules) == 1 else ("", "", "", "")
    if not path or any(one not in programs and "..." not in one for one in packages):
        return Resolved((), own)
    changes = json.loads(go(folder, "mod", "edit", "-json", go_mod))
    if changes.get("Replace") or changes.get("Exclude"):
        return Resolved((), own)
    builds = release_of(go(folder, "env", "GOVERSION"))
    text, steady = _work(json.loads(go(folder, "mod", "edit", "-json")), wanted or _DEFAULT, builds)
    (folder / "go.work").write_text(text)
    return Resolved(programs, own, steady)


def _work(described: Mapping[str, str], wanted: str, builds: tuple[int, int]) -> tuple[str, bool]:
    """go.work for a go.mod, as `go mod edit -json` has it, and whether programs get the GODEBUG of the Go that their
    module wants: other modules may want a newer one."""
    least = described["Go"]
    newer = release_of(least) > max(release_of(wanted), release_of(_LEAST))
    text = f"go {least if release_of(least) >= release_of(wanted) else wanted}\n\nuse .\n"
    if "Toolchain" in described:
        text += f"\ntoolchain {described['Toolchain']}\n"
    if newer and builds >= _GODEBUG_LINES:
        text += f"\ngodebug default=go{wanted}\n"
    return text, not newer or builds >= _GODEBUG_LINES
