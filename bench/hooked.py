"""The program that bench/hooks.py observes, and gotap observing it by one mechanism."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.command import Gotap, command, gotap
from bench.programs import NotPossible

_SOURCE = Path(__file__).parent / "programs" / "hooked"

MECHANISMS = ("uprobe", "springboard", "hook")


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gotap-bench-")


@functools.cache
def build(many: int = 0) -> Path:
    """A static program, with so many generated functions `main.manyN`."""
    if shutil.which("go") is None:
        raise NotPossible("there is no Go on the PATH: `make setup` installs one")
    directory = Path(_folder().name) / f"hooked-{many}"
    shutil.copytree(_SOURCE, directory)
    if many:
        body = "\n//go:noinline\nfunc many{0}(n int) int {{ return use(n) + use(n+{0}) }}\n"
        bodies = "".join(body.format(i) for i in range(many))
        table = ", ".join(f"many{i}" for i in range(many))
        text = f"package main\n{bodies}\nfunc init() {{\n\tfunctions = []func(int) int{{{table}}}\n}}\n"
        (directory / "many.go").write_text(text)
    variables = os.environ | {"GOFLAGS": "", "CGO_ENABLED": "0"}
    words = ["go", "build", "-buildvcs=false", "-o", "hooked", "."]
    done = subprocess.run(words, cwd=directory, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise NotPossible(f"hooked could not be built:\n{done.stderr}")
    return directory / "hooked"


class Hooked:
    """A running one. Its garbage collector is off: it makes no garbage, and should not wake."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def do(self, *words: object) -> int:
        """The number that it answers with."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise NotPossible(f"the target has ended: {self._process.wait()}")
        return int(line)

    def per_call(self, what: str, calls: int, burst: int = 0) -> float:
        """ns of CPU time that a call takes; with `burst` it rests after so many, and whoever reads events keeps up."""
        return self.do(what, calls, burst) / calls


@contextmanager
def hooked(many: int = 0) -> Iterator[Hooked]:
    with subprocess.Popen([build(many)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"GOGC": "off"}) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield Hooked(process)
        finally:
            process.kill()


def via(mechanism: str) -> tuple[str, ...]:
    return ("--via", mechanism) if mechanism != "uprobe" or _has_option() else ()


@functools.cache
def _has_option() -> bool:
    return b"--via" in subprocess.run(command("trace", "--help"), check=True, capture_output=True).stdout


@contextmanager
def attached(*words: str, mechanism: str) -> Iterator[Gotap]:
    """gotap with its probes in place; what it writes of calls or spans goes nowhere. Raises NotPossible."""
    with gotap(*words, *via(mechanism), "--to", "json") as running:
        try:
            running.wait_attached()
        except NotPossible as refusal:
            lines = str(refusal).removeprefix("gotap ended: ").splitlines()
            why = "; ".join(said for line in lines if (said := line.removeprefix("gotap: ").strip()))
            raise NotPossible(f"{mechanism}: not available: {why}") from None
        yield running


def tracing(pid: int, mechanism: str, script: str, *options: str) -> AbstractContextManager[Gotap]:
    words = ("trace", "-p", str(pid), "--max-overhead", "off", *options, script)
    return attached(*words, mechanism=mechanism)
