"""Debian's packages, unpacked into the tests' cache: for programs that tests look at without installing them."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from gobuild import MissingTool


def unpacked(*packages: str) -> Path:
    """The directory into which these packages were unpacked, named for the first one.

    They are brought by `apt-get download` from where the machine's own come from. Raises MissingTool.
    """
    name = packages[0]
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise MissingTool(f"{name} is not installed, and there is no apt-get to fetch it")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gotap-tests"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / name
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _unpack(packages, Path(scratch), root)
    return root


def _unpack(packages: tuple[str, ...], scratch: Path, root: Path) -> None:
    scratch.chmod(0o755)  # apt-get downloads as a user of its own
    _run("apt-get", "download", *packages, directory=scratch)
    for package in scratch.glob("*.deb"):
        _run("dpkg", "-x", str(package), str(scratch / "root"), directory=scratch)
    (scratch / "root").replace(root)


def _run(*command: str, directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise MissingTool(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")
