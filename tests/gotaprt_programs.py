"""Programs that carry gotap's Go runtime, in a GOROOT of links that has it as a package of the standard library."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from gobuild import NEWEST
from gotap.weave.goroot import go_command, shadow_goroot
from gotap.weave.runtime import additions
from gotap.weave.toolchain import find_toolchain
from otlp_server import Collector

HERE = Path(__file__).parent / "weave" / "runtime"

#: Up to Go 1.22 the end of the program is known by a woven os.Exit only.
_EXIT = b"func Exit(code int) {"
_EXIT_HOOK = b'package os\n\nimport _ "unsafe"\n\n//go:linkname gotapExit\nvar gotapExit func()\n'

RELEASES = ("1.21.13", pytest.param("1.24.13", marks=pytest.mark.matrix), NEWEST)


def build(go: str, folder: Path, *flags: str, tls: bool = False, main: str = "program") -> Path:
    """The test program, built with a release into a folder, where the tree of links lies too. `tls`: the program has
    crypto/tls; `main`: which one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOTOOLCHAIN", f"go{go}")
        patch.delenv("GOROOT", raising=False)
        patch.setenv("GOTAP_CACHE", str(folder / "cache"))
        toolchain = find_toolchain(str(folder))
        source = Path(toolchain.goroot, "src")
        changed = {f"src/{path}": text for path, text in additions().items()}
        if toolchain.release < (1, 23):
            changed["src/os/gotap.go"] = _EXIT_HOOK
            exiting = (source / "os" / "proc.go").read_bytes()
            assert exiting.count(_EXIT) == 1
            changed["src/os/proc.go"] = exiting.replace(_EXIT, _EXIT + b"gotapExit();")
        root = shadow_goroot(toolchain, changed)
        program = folder / "program"
        (folder / "go.mod").write_text("module example.com/program\n\ngo 1.21\n")
        (folder / "main.go").write_bytes((HERE / main / "main.go").read_bytes())
        if tls:
            (folder / "tls.go").write_text('package main\n\nimport _ "crypto/tls"\n')
        environment = {**os.environ, "GOROOT": str(root), "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
        words = [go_command(root), "build", *flags, "-o", program, "."]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return program


def settings(to: Collector | None = None, **more: str) -> Mapping[str, str]:
    """The environment of a program that sends to a collector; without one nobody listens."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": to.url if to else "http://127.0.0.1:1", **more}


@contextmanager
def running(program: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A program with pipes; it is killed if it still runs at the end."""
    pipe = subprocess.PIPE
    with subprocess.Popen([program, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment) as one:
        try:
            yield one
        finally:
            one.kill()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()
