"""Packages of the module cache are woven where they are: by the overlay, like the user's own.

The go command refuses that for what lies beneath GOMODCACHE (work.BuildInit, Go 1.25), and before that its index of
cached modules takes no notice of an overlay (modindex.GetModule). So each module of the build is replaced by its own
folder there, in a go.mod (go.work) that only this build sees, and GOMODCACHE is a link to the cache. All packages then
keep their folders, which are part of what the go command knows compiled packages by: nothing is compiled anew but what
is woven and what imports it, and programs name the files that they name without gotap. Only the list of modules in the
program would tell (see `linking`).

go.mod and its like come to the go command by the overlay, too: it never writes what an overlay replaces. Go 1.21 and
1.22 read go.work past it (modload.ReadWorkFile): there GOWORK names another. Checked with Go 1.21 to 1.27.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from gotap.weave.arguments import CommandLine, split_goflags
from gotap.weave.cache import cache_folder, digest, made, write
from gotap.weave.listing import Module, Package
from gotap.weave.modcache import is_cached, module_cache
from gotap.weave.toolchain import Toolchain, ask


class Alternate(Struct, frozen=True):
    """What a build sees of modules in place of what is there. `files`: content by path, for an overlay; `environment`:
    what the go command needs besides; `goroot`: content of files of GOROOT, by path from there."""

    files: Mapping[str, bytes] = {}
    environment: Mapping[str, str] = {}
    goroot: Mapping[str, bytes] = {}

    def content(self, path: str, own: Mapping[str, str]) -> bytes:
        """Of a file as the build sees it; `own`: the user's overlay. Empty if there is none."""
        if path in self.files:
            return self.files[path]
        try:
            return Path(own.get(path, path)).read_bytes()
        except OSError:
            return b""


def go_mod(toolchain: Toolchain, line: CommandLine, directory: str) -> str:
    """The path of the main module's go.mod, which -modfile may name; of no use in a workspace."""
    named = line.value("modfile")
    if named is None:
        flags = [flag.value for flag in split_goflags(toolchain.variables["GOFLAGS"]) if flag.name == "modfile"]
        named = flags[-1] if flags else None
    return os.path.normpath(os.path.join(directory, named)) if named else toolchain.variables["GOMOD"]


def go_work(toolchain: Toolchain) -> str:
    """The path of go.work; empty where there is no workspace."""
    path = toolchain.variables["GOWORK"]
    return "" if path == "off" else path


def replaced(
    toolchain: Toolchain,
    packages: Sequence[Package],
    line: CommandLine,
    directory: str,
    own: Mapping[str, str],
    needed: Alternate,
) -> Alternate:
    """`needed`, with all modules of these packages replaced by their folders. `own`: the user's overlay. Raises
    CacheError, NoGo."""
    modules = sorted(_cached_modules(packages, toolchain), key=lambda one: (one.path, one.version))
    path = go_work(toolchain) or go_mod(toolchain, line, directory)
    folders = [(one, (one.replace or one).dir) for one in modules]
    lines = "".join(f"replace {one.path} {one.version} => {json.dumps(folder, ensure_ascii=False)}\n"
                    for one, folder in folders)  # fmt: skip
    kind = "work" if go_work(toolchain) else "mod"
    text = _without_replacements(toolchain, kind, needed.content(path, own), modules)
    files = {**needed.files, path: text.rstrip(b"\n") + b"\n\n" + lines.encode()}
    for one, folder in folders:  # from before there were modules: the go command made one for it when it was loaded
        if not os.path.exists(os.path.join(folder, "go.mod")):
            files[os.path.join(folder, "go.mod")] = Path((one.replace or one).go_mod or one.go_mod).read_bytes()
    files, environment = work_environment(toolchain, files, own)
    link = _link(toolchain)
    if _names_module_cache(toolchain):
        return Alternate(files, {**environment, "GOMODCACHE": link})
    defaults = Path(toolchain.goroot, "go.env").read_text().rstrip("\n")
    return Alternate(files, environment, {"go.env": f"{defaults}\nGOMODCACHE={link}\n".encode()})


def work_environment(
    toolchain: Toolchain, files: Mapping[str, bytes], own: Mapping[str, str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files, and the environment, where go.work is not read from the overlay: GOWORK names a copy. Raises CacheError,
    NoGo."""
    path = go_work(toolchain)
    if path not in files or toolchain.release >= (1, 23):
        return dict(files), {}
    left = dict(files)
    text = left.pop(path)
    total = left.pop(f"{path}.sum", None) or Alternate().content(f"{path}.sum", own)
    folder = cache_folder() / "work" / digest(path, text, total)[:20]

    def fill(fresh: Path) -> None:
        copy = fresh / "go.work"
        write(copy, text)
        where = os.path.dirname(path)
        uses = json.loads(ask(toolchain.go, ["work", "edit", "-json", str(copy)], where)).get("Use") or ()
        named = [use["DiskPath"] for use in uses]
        words = [f"-dropuse={one}" for one in named]
        words += [f"-use={os.path.normpath(os.path.join(where, one))}" for one in named]
        ask(toolchain.go, ["work", "edit", *words, str(copy)], where)
        write(copy, copy.read_bytes())
        write(fresh / "go.work.sum", total)

    return left, {"GOWORK": str(made(folder, fill) / "go.work")}


def _cached_modules(packages: Iterable[Package], toolchain: Toolchain) -> Iterator[Module]:
    found = {one.module.path: one.module for one in packages if one.module is not None}
    for one in found.values():
        if not one.main and is_cached((one.replace or one).dir, toolchain):
            yield one


def _without_replacements(toolchain: Toolchain, kind: str, text: bytes, modules: Sequence[Module]) -> bytes:
    """A go.mod or go.work in which modules that are replaced by others are not, in the versions that these have: a
    version cannot be replaced twice."""
    words = [f"-dropreplace={one.path}@{one.version}" for one in modules if one.replace is not None]
    return edited(toolchain, kind, text, words) if words else text


def edited(toolchain: Toolchain, kind: str, text: bytes, words: Sequence[str]) -> bytes:
    """What `go mod edit` or `go work edit` makes of a text. Raises CacheError, NoGo."""
    folder = cache_folder() / "edited" / digest(toolchain.version, kind, text, *words)[:20]

    def fill(fresh: Path) -> None:
        (fresh / f"go.{kind}").write_bytes(text)
        ask(toolchain.go, [kind, "edit", *words, str(fresh / f"go.{kind}")], str(fresh))

    return (made(folder, fill) / f"go.{kind}").read_bytes()


def _link(toolchain: Toolchain) -> str:
    """A link to the module cache."""
    target = module_cache(toolchain)
    folder = cache_folder() / "modules" / digest(target)[:20]
    return str(made(folder, lambda fresh: os.symlink(target, fresh / "mod")) / "mod")


def _names_module_cache(toolchain: Toolchain) -> bool:
    """Whether the user has set GOMODCACHE, in the environment or by `go env -w`: that comes before what GOROOT says."""
    if "GOMODCACHE" in os.environ:
        return True
    try:
        lines = Path(toolchain.variables["GOENV"]).read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(one.startswith("GOMODCACHE=") for one in lines)


def changes_modules(line: CommandLine, toolchain: Toolchain) -> bool:
    """Whether the go command may change go.mod: with -mod=mod, of which $GOFLAGS comes first."""
    flags = (*split_goflags(toolchain.variables["GOFLAGS"]), *line.flags)
    return [flag.value for flag in flags if flag.name == "mod"][-1:] == ["mod"]
