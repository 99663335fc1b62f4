"""The user's Go: which command, which version, what its environment says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gotap.weave.errors import NoDirectory, NoGo, UnsupportedGo

#: Releases that gotap's rules about the standard library were checked with.
FIRST, LAST = (1, 21), (1, 27)

_NAMES = (
    "GOROOT", "GOVERSION", "GOMOD", "GOWORK", "GOFLAGS", "GOMODCACHE", "GOOS", "GOARCH", "GOTOOLDIR", "CGO_ENABLED",
    "GOENV", "GOEXPERIMENT",
    # What chooses files of packages besides, or packages themselves (`go help environment`, Go 1.27).
    "GO111MODULE", "GOPATH", "GOFIPS140", "GO386", "GOAMD64", "GOARM", "GOARM64", "GOMIPS", "GOMIPS64", "GOPPC64",
    "GORISCV64", "GOWASM",
)  # fmt: skip


class Toolchain(Struct, frozen=True):
    """`go`: path of the command that the user would run; `variables`: what `go env` says, in the user's directory.

    With GOTOOLCHAIN the command may run another release than its own: `GOROOT` and `GOVERSION` are that one's.
    """

    go: str
    variables: Mapping[str, str]

    @property
    def goroot(self) -> str:
        return self.variables["GOROOT"]

    @property
    def version(self) -> str:
        """As in `go1.26.8`."""
        return self.variables["GOVERSION"].split()[0]

    @property
    def release(self) -> tuple[int, int]:
        """(1, 26)"""
        return release_of(self.version)


def find_toolchain(directory: str) -> Toolchain:
    """The Go that `go build` would use in a directory. Raises NoGo, UnsupportedGo."""
    go = shutil.which("go")
    if go is None:
        raise NoGo("there is no go command on the PATH", "install Go 1.21 or newer: https://go.dev/dl")
    output = ask(go, ["env", "-json", *_NAMES], directory)
    variables: dict[str, str] = json.loads(output)
    found = Toolchain(os.path.realpath(go) if not os.path.isabs(go) else go, variables)
    if not FIRST <= found.release <= LAST:
        raise UnsupportedGo(
            f"{found.version} is not a release that weaving was checked with: Go 1.{FIRST[1]} to 1.{LAST[1]}",
            f"choose one with GOTOOLCHAIN=go1.{LAST[1]}.0, or build without gotap",
        )
    return found


def ask(go: str, words: Sequence[str], directory: str) -> str:
    """What a go command prints. Raises NoGo with what it says when it fails."""
    try:
        done = subprocess.run([go, *words], cwd=directory, capture_output=True, text=True, errors="replace")
    except OSError as error:
        if not os.path.isdir(directory):
            raise NoDirectory(f"there is no directory {directory}", "name one that is there behind -C") from None
        raise NoGo(f"{go} cannot be run: {error.strerror}", "check the Go installation") from None
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise NoGo(f"`go {words[0]}` fails: {said}", "run it by hand: gotap needs what it tells")
    return done.stdout


def release_of(version: str) -> tuple[int, int]:
    """`go1.26.8`, `go1.27rc1` or `1.21` → (1, 26) …; a development version is the newest there is."""
    found = re.match(r"(?:go)?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (1, 1 << 16)
