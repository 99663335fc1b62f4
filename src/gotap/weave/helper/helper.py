"""Builds the helper, once for each of its sources and Go version, and asks it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from gotap.weave.cache import digest, made
from gotap.weave.helper.errors import HelperFailed, HelperNotBuilt
from gotap.weave.helper.protocol import Answer, Request

_SOURCES = Path(__file__).parent / "program"
_NAME = "weavehelper"


class Helper(Struct, frozen=True):
    """`program`: path of the built helper."""

    program: Path

    @classmethod
    def built(cls, go: str, version: str, cache: Path) -> Helper:
        """The helper as that Go command builds it when it runs that release (`go1.26.8`), or as the cache has it.

        Raises HelperNotBuilt, and CacheError when the cache cannot be written.
        """
        sources = {path.name: path.read_bytes() for path in sorted(_SOURCES.iterdir()) if path.is_file()}
        parts = [part for pair in sources.items() for part in pair]
        folder = cache / f"{version}-{digest(version, *parts)[:24]}"
        made(folder, lambda fresh: _build(go, version, sources, fresh / _NAME))
        return cls(folder / _NAME)

    def ask(self, request: Request) -> Answer:
        """Raises HelperFailed when there is no answer; what is wrong with rules is in the answer."""
        try:
            done = subprocess.run([self.program], input=msgspec.json.encode(request), capture_output=True)
        except OSError as error:
            raise HelperFailed(
                f"{self.program} cannot be run: {error.strerror}", "remove it: gotap builds it anew"
            ) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise HelperFailed(
                f"the Go helper ends with status {done.returncode}: {said[-2000:]}",
                "this is a fault of gotap's: please report it with the text above",
            )
        try:
            return msgspec.json.decode(done.stdout, type=Answer)
        except msgspec.DecodeError as error:
            raise HelperFailed(f"the Go helper's answer cannot be read: {error}", "please report it") from None


def _build(go: str, version: str, sources: dict[str, bytes], program: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="gotap-helper-") as folder:
        for name, content in sources.items():
            Path(folder, name).write_bytes(content)
        environment = _environment(go, version, folder)
        words = [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "."]
        try:
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
        except OSError as error:
            raise HelperNotBuilt(f"{go} cannot be run: {error.strerror}", "check the Go installation") from None
    if done.returncode:
        raise HelperNotBuilt(
            f"{version} does not build gotap's Go helper:\n{(done.stderr or done.stdout).strip()}",
            "check that this toolchain builds other programs; if it does, please report this",
        )


def _environment(go: str, version: str, folder: str) -> dict[str, str]:
    """The user's, without what is meant for the user's program: flags, workspace, another architecture, cgo."""
    environment = {name: value for name, value in os.environ.items() if name not in ("GOEXPERIMENT", "GOROOT")}
    # `devel …` is no release that GOTOOLCHAIN could name; it is the command's own.
    environment["GOTOOLCHAIN"] = version if version.startswith("go1.") and " " not in version else "local"
    environment |= {"GOWORK": "off", "GOFLAGS": "-buildvcs=false", "GO111MODULE": "on", "CGO_ENABLED": "0"}
    words = [go, "env", "GOHOSTOS", "GOHOSTARCH"]
    try:
        host = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True).stdout.split()
    except OSError as error:
        raise HelperNotBuilt(f"{go} cannot be run: {error.strerror}", "check the Go installation") from None
    if len(host) == 2:
        environment["GOOS"], environment["GOARCH"] = host
    return environment
