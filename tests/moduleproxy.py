"""Modules that tests make up, at versions, in a module proxy that is a folder (`go help goproxy`)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path


def publish(proxy: Path, path: str, version: str, files: Mapping[str, str | bytes]) -> None:
    """A version of a module; go.mod is among the files, and capitals are not in the path. The last one is `latest`."""
    folder = proxy / path / "@v"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "list").open("a") as versions:
        versions.write(f"{version}\n")
    (folder / f"{version}.info").write_text(json.dumps({"Version": version, "Time": "2024-01-02T03:04:05Z"}))
    (folder / f"{version}.mod").write_bytes(_bytes(files["go.mod"]))
    with zipfile.ZipFile(folder / f"{version}.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{path}@{version}/{name}", _bytes(content))


def settings(proxy: Path, cache: Path) -> dict[str, str]:
    """The environment of go commands that know no other modules, with a module cache that can be removed."""
    return {
        "GOPROXY": proxy.as_uri(),
        "GOSUMDB": "off",
        "GOMODCACHE": str(cache),
        "GOFLAGS": "-buildvcs=false -modcacherw",
        "GOTOOLCHAIN": "local",
    }


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
