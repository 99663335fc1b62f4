"""go.mod and go.sum with more modules than they have, by `go get` on a copy. Nothing of the user's is written.

A workspace's module is taken by itself, with its neighbours as replacements. The Go that resolves is the one that
builds: modules that want a newer one are refused, since the build would be another Go's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from gotap.weave.arguments import ELSEWHERE, goflags_without
from gotap.weave.cache import cache_folder, digest, made
from gotap.weave.errors import Unresolved
from gotap.weave.modules import edited
from gotap.weave.toolchain import Toolchain, ask, release_of

#: From this release on each round of a loop has variables of its own, if the `go` line says so.
_LOOPS = (1, 22)
_GO_LINE = re.compile(rb"^go\s+(\S+)", re.MULTILINE)


class Base(Struct, frozen=True):
    """What is to have more. `folder`: of go.mod; `mod`, `total`: content of go.mod and go.sum; `neighbours`: module
    path → folder of the workspace's others; `replacements`: those of go.work, in the form of `go mod edit -replace`."""

    folder: str
    mod: bytes
    total: bytes
    neighbours: Mapping[str, str] = {}
    replacements: Sequence[str] = ()

    @property
    def words(self) -> list[str]:
        folders = [f"-replace={path}={folder}" for path, folder in sorted(self.neighbours.items())]
        return [*folders, *(f"-replace={one}" for one in self.replacements)]


def required(toolchain: Toolchain, mod: bytes) -> dict[str, str]:
    """Versions of the modules that a go.mod names. Raises CacheError, NoGo."""
    folder = cache_folder() / "required" / digest(toolchain.version, mod)[:20]

    def fill(fresh: Path) -> None:
        (fresh / "go.mod").write_bytes(mod)
        (fresh / "go.json").write_text(ask(toolchain.go, ["mod", "edit", "-json", str(fresh / "go.mod")], str(fresh)))

    found = json.loads((made(folder, fill) / "go.json").read_bytes()).get("Require") or ()
    return {one["Path"]: one["Version"] for one in found}


def build_list(toolchain: Toolchain, base: Base) -> dict[str, str]:
    """Versions of all modules that the build's modules ask for, whether it uses them or not. Raises CacheError,
    Unresolved, NoGo."""

    def fill(fresh: Path) -> None:
        _copy(toolchain, base, fresh)
        words = ["list", "-mod=mod", f"-modfile={fresh / 'go.mod'}", "-m", "-f={{.Path}} {{.Version}}", "all"]
        (fresh / "list").write_text(_run(toolchain, base, words))

    lines = (_made(toolchain, base, "list", fill) / "list").read_text().splitlines()
    return {path: version for path, _, version in (line.partition(" ") for line in lines) if version}


def with_packages(
    toolchain: Toolchain, base: Base, versions: Mapping[str, str], loading: Sequence[Sequence[str]]
) -> tuple[bytes, bytes]:
    """go.mod and go.sum of which packages, by import path, are in modules of these versions. `loading`: words of
    `go list` for what is to be loaded besides. Raises CacheError, Unresolved, NoGo."""
    wanted = [f"{path}@{version}" for path, version in sorted(versions.items())]

    def fill(fresh: Path) -> None:
        _copy(toolchain, base, fresh)
        modfile = f"-modfile={fresh / 'go.mod'}"
        _run(toolchain, base, ["get", modfile, *wanted])
        for words in (*loading, ["--", *sorted(versions)]):  # go.sum gets what they need
            _run(toolchain, base, ["list", "-mod=mod", modfile, "-deps", "-f=-", *words])

    folder = _made(toolchain, base, "packages", fill, *wanted, *(word for words in loading for word in words))
    mod = (folder / "go.mod").read_bytes()
    if base.words:
        mod = edited(toolchain, "mod", mod, [f"-dropreplace={word[9:].partition('=')[0]}" for word in base.words])
    return _with_go(toolchain, base.mod, mod, wanted), (folder / "go.sum").read_bytes()


def _with_go(toolchain: Toolchain, before: bytes, after: bytes, wanted: Sequence[str]) -> bytes:
    """A go.mod that means what it meant: its `go` line is at least that of all modules, and decides about GODEBUG, too.
    Raises Unresolved where it would decide about the language."""
    found = [_GO_LINE.search(text) for text in (before, after)]
    own, new = (one[1].decode() if one else "1.16" for one in found)
    if release_of(own) == release_of(new):
        return after
    if release_of(own) < _LOOPS <= release_of(new):
        raise Unresolved(
            f"{', '.join(wanted)}: go.mod would have to say `go {new}`, and loops would mean something else",
            f"`go mod edit -go={new}`, or take another version",
        )
    if b"\ngodebug" in before or toolchain.release < (1, 23):
        return after
    return edited(toolchain, "mod", after, [f"-godebug=default=go{own}"])


def _made(toolchain: Toolchain, base: Base, name: str, fill: Callable[[Path], None], *parts: str) -> Path:
    key = digest(toolchain.version, name, base.folder, base.mod, base.total, *base.words, "", *parts)
    return made(cache_folder() / "resolved" / key[:20], fill)


def _copy(toolchain: Toolchain, base: Base, fresh: Path) -> None:
    (fresh / "go.mod").write_bytes(edited(toolchain, "mod", base.mod, base.words) if base.words else base.mod)
    (fresh / "go.sum").write_bytes(base.total)


def _run(toolchain: Toolchain, base: Base, words: Sequence[str]) -> str:
    """What a go command prints in the module's folder. Raises Unresolved."""
    flags = goflags_without(toolchain.variables["GOFLAGS"], ELSEWHERE)
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": flags, "GOTOOLCHAIN": "local"}
    go = os.path.join(toolchain.goroot, "bin", "go")
    done = subprocess.run([go, *words], cwd=base.folder, capture_output=True, text=True, errors="replace",
                          env=environment)  # fmt: skip
    if done.returncode:
        raise Unresolved(f"`go {words[0]}` cannot resolve what rules need:\n{done.stderr.strip()}",
                         "mend the versions in the tool file, or take the rules out")  # fmt: skip
    return done.stdout
