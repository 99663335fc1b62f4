"""Shadow GOROOTs: trees of links to the user's Go, in which only folders with changed files are real.

A program that is built there tells nothing of it. The compiler writes `$GOROOT` for its folder (objabi.AbsFile), and
the linker puts the folder there that it is told (pcln.expandGoroot): a link command in the tree tells it the user's
(see `linking`, and for the cover command, which is another one, too, `covering`).
The go command is a copy, which finds its GOROOT by where it is itself; GOROOT need not be in the environment of the
programs that it runs. Checked with Go 1.21 to 1.27.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from gotap.weave.cache import cache_folder, digest, made, write
from gotap.weave.covering import cover_command
from gotap.weave.linking import link_command
from gotap.weave.modcache import module_cache
from gotap.weave.toolchain import Toolchain

_FORMAT = "4"

#: The tree's go command. `go` is the user's: tests and programs find it on their PATH, where the go command puts the
#: bin folder of its GOROOT first, and what they build is as plain as it is without gotap.
_COMMAND = "gotap-go"


def go_command(goroot: Path) -> Path:
    """Of a shadow GOROOT. What it is called does not matter to it: it looks where it lies (cfg.findGOROOT)."""
    return goroot / "bin" / _COMMAND


def shadow_goroot(toolchain: Toolchain, changed: Mapping[str, bytes]) -> Path:
    """A GOROOT with other content in some files, which may be new; by path from GOROOT. Raises CacheError."""
    parts = [part for name, content in sorted(changed.items()) for part in (name, content)]
    key = digest(_FORMAT, toolchain.goroot, toolchain.version, sys.executable, module_cache(toolchain), *parts)
    folder = cache_folder() / "goroot" / f"{toolchain.version}-{key[:20]}"
    return made(folder, lambda fresh: _fill(fresh, toolchain, changed))


def _fill(fresh: Path, toolchain: Toolchain, changed: Mapping[str, bytes]) -> None:
    goroot = Path(toolchain.goroot)
    real = {Path(name).parent for name in changed}
    above = {folder for one in real for folder in (one, *one.parents)}
    _mirror(fresh, goroot, Path("."), above, real, set(changed))
    for name, content in changed.items():
        write(fresh / name, content)
    _own_commands(fresh, goroot, Path(toolchain.variables["GOTOOLDIR"]).name, module_cache(toolchain))


def _mirror(fresh: Path, goroot: Path, at: Path, above: set[Path], real: set[Path], changed: set[str]) -> None:
    """Links to what is in a folder; folders on the way to changed files are real, and so are these files' neighbours,
    since //go:embed takes no links."""
    (fresh / at).mkdir(exist_ok=True)
    with os.scandir(goroot / at) as entries:
        for entry in entries:
            own = at / entry.name
            if str(own) in changed:
                continue
            if own in above and entry.is_dir():
                _mirror(fresh, goroot, own, above, real, changed)
            elif at in real and entry.is_file():
                shutil.copy2(entry.path, fresh / own)
            else:
                os.symlink(entry.path, fresh / own)


def _own_commands(fresh: Path, goroot: Path, platform: str, cache: str) -> None:
    """The go command, and a linker that knows the GOROOT and the modules that programs are to name."""
    _real_folder(fresh / "bin", goroot / "bin")
    shutil.copy2(goroot / "bin" / "go", go_command(fresh))
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
    if not folder.is_symlink():
        return
    folder.unlink()
    folder.mkdir()
    for entry in original.iterdir():
        os.symlink(entry, folder / entry.name)
