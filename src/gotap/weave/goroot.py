"""Shadow GOROOTs: trees with the files of the user's Go, but for those that change.

Folders below src are real, since patterns such as net/... match no links to folders (modload.matchPackages), and files
are, too, since the go command keeps no index of a folder that has links (modindex.dirHash), and //go:embed takes none
(load.resolveEmbed). So they are hard links: nothing is copied, and times are those of the user's files. Where these
cannot be linked, being on another file system or another user's (fs.protected_hardlinks), a copy of them is, which all
trees of that Go share. What is not below src is a link to what the user's Go has there, and so is src/cmd.

A program that is built there tells nothing of it. The compiler writes `$GOROOT` for its folder (objabi.AbsFile), and
the linker puts the folder there that it is told (pcln.expandGoroot): a link command in the tree tells it the user's
(see `linking`, and for the cover command, which is another one, too, `covering`).
The go command is the user's by another name, which finds its GOROOT by where that is; GOROOT need not be in the
environment of the programs that it runs. Checked with Go 1.21 to 1.27.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from gotap.weave.cache import cache_folder, digest, made, write
from gotap.weave.covering import cover_command
from gotap.weave.linking import link_command
from gotap.weave.modcache import module_cache
from gotap.weave.standard import state
from gotap.weave.toolchain import Toolchain

_FORMAT = "5"

#: The tree's go command. `go` is the user's: tests and programs find it on their PATH, where the go command puts the
#: bin folder of its GOROOT first, and what they build is as plain as it is without gotap.
_COMMAND = "gotap-go"

#: Below src: the module of go, vet and the like, where patterns are looked for although it is a link. It is a third of
#: all files, and hardly ever woven.
_TOOLS = "cmd"


def go_command(goroot: Path) -> Path:
    """Of a shadow GOROOT. What it is called does not matter to it: it looks where it lies (cfg.findGOROOT)."""
    return goroot / "bin" / _COMMAND


def shadow_goroot(toolchain: Toolchain, changed: Mapping[str, bytes]) -> Path:
    """A GOROOT with other content in some files, which may be new; by path from GOROOT: below src, or right in GOROOT.
    Raises CacheError."""
    parts = [part for name, content in sorted(changed.items()) for part in (name, content)]
    known = (_FORMAT, toolchain.goroot, toolchain.version, state(toolchain))
    key = digest(*known, sys.executable, module_cache(toolchain), *parts)
    folder = cache_folder() / "goroot" / f"{toolchain.version}-{key[:20]}"
    return made(folder, lambda fresh: _fill(fresh, toolchain, changed))


def _fill(fresh: Path, toolchain: Toolchain, changed: Mapping[str, bytes]) -> None:
    goroot = Path(toolchain.goroot)
    with os.scandir(goroot) as entries:
        for entry in entries:
            if entry.name != "src":
                os.symlink(entry.path, fresh / entry.name)
    sources, command = _originals(fresh, toolchain)
    _mirror(sources, str(fresh / "src"), _linked_or_copied, without=_TOOLS)
    if any(Path(name).is_relative_to(f"src/{_TOOLS}") for name in changed):
        _mirror(str(goroot / "src" / _TOOLS), str(fresh / "src" / _TOOLS), _linked_or_copied)
    else:
        os.symlink(goroot / "src" / _TOOLS, fresh / "src" / _TOOLS)
    for name, content in changed.items():
        (fresh / name).unlink(missing_ok=True)  # else the user's file would be written
        write(fresh / name, content)
    _own_commands(fresh, goroot, command, Path(toolchain.variables["GOTOOLDIR"]).name, module_cache(toolchain))


def _originals(fresh: Path, toolchain: Toolchain) -> tuple[str, str]:
    """src and the go command of GOROOT, or copies of them that can be linked to. Raises CacheError."""
    sources, command = (os.path.realpath(os.path.join(toolchain.goroot, name)) for name in ("src", "bin/go"))
    try:
        os.link(os.path.join(sources, "go.mod"), fresh / "go.mod")
    except OSError:
        return _copies(sources, command, toolchain)
    os.unlink(fresh / "go.mod")
    return sources, command


def _copies(sources: str, command: str, toolchain: Toolchain) -> tuple[str, str]:
    def fill(other: Path) -> None:
        _mirror(sources, str(other / "src"), shutil.copy2, without=_TOOLS)
        shutil.copy2(command, other / "go")

    key = digest(_FORMAT, toolchain.goroot, toolchain.version, state(toolchain))
    folder = made(cache_folder() / "sources" / f"{toolchain.version}-{key[:20]}", fill)
    return str(folder / "src"), str(folder / "go")


def _mirror(folder: str, own: str, place: Callable[[str, str], object], without: str = "") -> None:
    """Makes a folder like another one. `place`: puts a file where it is told; `without`: what is left out of it."""
    os.makedirs(own, exist_ok=True)
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{own}/{entry.name}"
            if entry.name == without:
                continue
            if entry.is_symlink():
                os.symlink(entry.path, path)
            elif entry.is_dir():
                _mirror(entry.path, path, place)
            else:
                place(entry.path, path)


def _linked_or_copied(path: str, own: str) -> None:
    try:
        os.link(path, own)
    except OSError:
        shutil.copy2(path, own)


def _own_commands(fresh: Path, goroot: Path, command: str, platform: str, cache: str) -> None:
    """The go command, and a linker that knows the GOROOT and the modules that programs are to name."""
    _real_folder(fresh / "bin", goroot / "bin")
    _linked_or_copied(command, str(go_command(fresh)))
    tools = goroot / "pkg" / "tool" / platform
    _real_folder(fresh / "pkg", goroot / "pkg")
    _real_folder(fresh / "pkg" / "tool", goroot / "pkg" / "tool")
    own = fresh / "pkg" / "tool" / platform
    _real_folder(own, tools)
    _command(own / "link", link_command(tools / "link", goroot, cache))
    if (tools / "cover").exists():
        _command(own / "cover", cover_command(tools / "cover"))


def _command(path: Path, script: str) -> None:
    path.unlink()
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


def _real_folder(folder: Path, original: Path) -> None:
    """A folder of links in place of a link to a folder."""
    folder.unlink()
    folder.mkdir()
    for entry in original.iterdir():
        os.symlink(entry, folder / entry.name)
