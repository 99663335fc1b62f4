"""Builds tests/programs/plainold by any Go since 1.5 and for any machine, once, with the cache of gobuild.

Releases before 1.18 know neither module flags nor each other's environment, so that they need a recipe of their own.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from gobuild import PROGRAMS, BuildFailed, MissingTool

SOURCE = PROGRAMS / "plainold" / "main.go"


def build_plain(go: str, goos: str, goarch: str, *flags: str) -> Path:
    """The executable by that release for that system. Raises MissingTool when the release cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gotap-tests" / "plainold"
    cache.mkdir(parents=True, exist_ok=True)
    name = "-".join(("plain", go, goos, goarch, *(flag.strip("-").replace("/", "_") for flag in flags)))
    executable = cache / f"{name}-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not executable.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _compile(go, goos, goarch, flags, Path(scratch)).replace(executable)
    return executable


def nm(path: Path) -> dict[int, set[str]]:
    """Address → names of what `go tool nm` shows in the text; the local Go reads files of all releases and machines."""
    done = subprocess.run(["go", "tool", "nm", str(path)], capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"go tool nm {path}:\n{done.stderr}")
    found: dict[int, set[str]] = {}
    for line in done.stdout.splitlines():
        address, kind, name = [*line.split(None, 2), "", ""][:3]
        if kind in ("T", "t"):
            found.setdefault(int(address, 16), set()).add(name)
    return found


def _compile(go: str, goos: str, goarch: str, flags: tuple[str, ...], scratch: Path) -> Path:
    root = _root(go)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(Path.home()), "GOROOT": root, "GOPATH": str(scratch / "path"),
        "GOENV": "off", "GO111MODULE": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0",
        "GOOS": goos, "GOARCH": goarch,
    }  # fmt: skip
    command = [f"{root}/bin/go", "build", *flags, "-o", str(scratch / "built"), SOURCE.name]
    done = subprocess.run(command, cwd=SOURCE.parent, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(f"Go {go} for {goos}/{goarch}:\n{done.stderr}")
    return scratch / "built"


@functools.cache
def _root(go: str) -> str:
    environment = {**os.environ, "GOTOOLCHAIN": f"go{go}", "GOENV": "off", "GOFLAGS": ""}
    try:
        done = subprocess.run(["go", "env", "GOROOT"], env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        raise MissingTool("go is not installed (Debian package go)") from None
    if done.returncode:
        raise MissingTool(f"Go {go} cannot be downloaded: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()
