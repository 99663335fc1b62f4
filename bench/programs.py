"""The Go programs of the benchmarks: built once a run, started, loaded; all of them end with the benchmark."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
SERVICE = _HERE / "programs" / "service"
HTTPLOAD = _HERE.parent / "tests" / "programs" / "httpload"


class NotPossible(Exception):
    """A benchmark cannot run here; the text says why."""


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gotap-bench-")


def folder() -> str:
    """Where what is built lies; it goes with the benchmark."""
    return _folder().name


@functools.cache
def build(source: Path, stripped: bool = False) -> Path:
    """The executable of a Go program's directory, by the `go` on the PATH; `stripped`: as of -ldflags='-s -w'."""
    if shutil.which("go") is None:
        raise NotPossible("there is no Go on the PATH: `make setup` installs one")
    executable = Path(_folder().name) / (source.name + ("-stripped" if stripped else ""))
    flags = ["-ldflags=-s -w"] if stripped else []
    command = ["go", "build", "-buildvcs=false", *flags, "-o", str(executable), "."]
    done = subprocess.run(command, cwd=source, env=os.environ | {"GOFLAGS": ""}, capture_output=True, text=True)
    if done.returncode:
        raise NotPossible(f"{source.name} could not be built:\n{done.stderr}")
    return executable


@functools.cache
def go_version() -> str:
    return subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True, slots=True)
class Service:
    """A running server."""

    pid: int
    executable: Path
    address: str

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    def cpu(self) -> int:
        """CPU time of all threads that it has and had, ns."""
        return process_cpu(self.pid)


def process_cpu(pid: int) -> int:
    """CPU time of a process, ns: its CPU clock, which counts what its threads ran, to the nanosecond."""
    return time.clock_gettime_ns(~pid << 3 | 2)  # clock_getcpuclockid(3): CPUCLOCK_SCHED of a process


@contextmanager
def service(backend: str = "", *, stripped: bool = False) -> Iterator[Service]:
    executable = build(SERVICE, stripped)
    with subprocess.Popen([executable, "-backend", backend], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Service(process.pid, executable, process.stdout.readline().split()[-1])
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Load:
    """`rate` requests a second over `connections` keep-alive connections; 0: as fast as answers come."""

    rate: int
    connections: int = 4

    def __str__(self) -> str:
        pace = f"{self.rate} requests/s" if self.rate else "closed loop"
        return f"{pace}, {self.connections} connections"

    def run(self, url: str, seconds: float) -> Done:
        """Loads for about that long; raises NotPossible if a request is not answered with 200."""
        return self.make(url, int(seconds * (self.rate or _capacity(url, self.connections))))

    def make(self, url: str, requests: int) -> Done:
        """Makes so many requests, and no other; raises NotPossible if one is not answered with 200."""
        command = [str(build(HTTPLOAD)), "-n", str(requests), "-c", str(self.connections), "-rate", str(self.rate), url]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if answer["errors"] or answer["status"] != {"200": requests}:
            raise NotPossible(f"the load went wrong: {answer}")
        return Done(requests, answer["seconds"], answer["p50_ms"], answer["p99_ms"])


@dataclass(frozen=True, slots=True)
class Done:
    requests: int
    seconds: float
    p50: float  # ms
    p99: float  # ms


@functools.cache
def _capacity(url: str, connections: int) -> float:
    """Requests a second that are answered when nothing holds them back."""
    command: Sequence[str] = [str(build(HTTPLOAD)), "-n", "4000", "-c", str(connections), url]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return float(answer["requests"] / answer["seconds"])
