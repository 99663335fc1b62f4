"""The program that bench/trace.py traces, and the tracers that are compared: gotap, bpftrace, delve."""

from __future__ import annotations

import functools
import os
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.command import command
from bench.programs import NotPossible, process_cpu

_SOURCE = Path(__file__).parent / "programs" / "tracee"
DELVE = "github.com/go-delve/delve/cmd/dlv@v1.27.1"
#: Functions of the program that has many.
MANY = 10_000


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gotap-bench-")


@functools.cache
def build(many: int = 0, *, debug: bool = False) -> Path:
    """With `many` generated functions `main.manyN`; `debug`: without optimisation, as delve wants it."""
    if shutil.which("go") is None:
        raise NotPossible("there is no Go on the PATH: `make setup` installs one")
    directory = Path(_folder().name) / f"tracee-{many}-{debug}"
    shutil.copytree(_SOURCE, directory)
    if many:
        body = "\n//go:noinline\nfunc many{0}(n int) int {{ return use(n) + use(n+{0}) }}\n"
        bodies = "".join(body.format(i) for i in range(many))
        table = ", ".join(f"many{i}" for i in range(many))
        text = f"package main\n{bodies}\nfunc init() {{\n\tfunctions = []func(int) int{{{table}}}\n}}\n"
        (directory / "many.go").write_text(text)
    flags = ["-gcflags=all=-N -l"] if debug else []
    done = subprocess.run(["go", "build", "-buildvcs=false", *flags, "-o", "tracee", "."], cwd=directory,
                          env=os.environ | {"GOFLAGS": ""}, capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise NotPossible(f"tracee could not be built:\n{done.stderr}")
    return directory / "tracee"


@functools.cache
def delve() -> str:
    """The path of `dlv`: the one on the PATH, else made by `go install`. Raises NotPossible."""
    found = shutil.which("dlv")
    if found is not None:
        return found
    made = Path(_folder().name) / "bin" / "dlv"
    done = subprocess.run(["go", "install", DELVE], capture_output=True, text=True,
                          env=os.environ | {"GOBIN": str(made.parent), "GOFLAGS": ""})  # fmt: skip
    if done.returncode:
        raise NotPossible(f"delve could not be installed: {done.stderr.strip().splitlines()[-1]}")
    return str(made)


class Tracee:
    """A running one; `do` returns when it has done it."""

    def __init__(self, executable: Path, process: subprocess.Popen[str]) -> None:
        self.executable = executable
        self._process = process
        self.pid = process.pid

    def cpu(self, count: int) -> float:
        """ns of CPU time that a call of main.hot takes, by the process's clock: what waits does not count."""
        before = process_cpu(self.pid)
        self.do("hot", count)
        return (process_cpu(self.pid) - before) / count

    def do(self, what: str, count: int) -> int:
        """ns that it took, waiting included."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what} {count}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def tracee(executable: Path) -> Iterator[Tracee]:
    with subprocess.Popen([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield Tracee(executable, process)
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Tracer:
    """How a tracer is asked, and how it says that it is ready: a line that matches, on either output."""

    name: str
    words: Sequence[str]
    ready: str
    environment: tuple[tuple[str, str], ...] = ()


def gotap(pid: int, script: str, *options: str) -> Tracer:
    words = command("trace", "-p", str(pid), "--max-overhead", "off", *options, script)
    return Tracer("gotap", words, "gotap: attached")


def bpftrace(pid: int, script: str) -> Tracer:
    """bpftrace takes the file's path from `{}` in the script."""
    if shutil.which("bpftrace") is None:
        raise NotPossible("bpftrace is not installed (Debian package bpftrace)")
    text = script.replace("{}", str(Path(f"/proc/{pid}/exe").resolve()))
    return Tracer("bpftrace", ["bpftrace", "-p", str(pid), "-e", text], "^Attaching",
                  (("BPFTRACE_MAX_PROBES", str(2 * MANY)),))  # fmt: skip


def dlv(pid: int, function: str) -> Tracer:
    return Tracer("delve", [delve(), "trace", "--ebpf", "-p", str(pid), function], "^>")


class Running:
    """A tracer at work; both outputs are one, and are read all the time: a full pipe would hold the tracer up."""

    def __init__(self, process: subprocess.Popen[str], begin: float) -> None:
        self.process = process
        self._begin = begin
        self._lines: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put((time.perf_counter(), line))
        self._lines.put(None)

    def wait(self, pattern: str, poke: Callable[[], object] = lambda: None) -> float:
        """Seconds from the start until a line of it matches; NotPossible when it ends instead, or in a minute.

        `poke` is called every 0.2 s while it says nothing.
        """
        said, limit = [], time.perf_counter() + 60
        while time.perf_counter() < limit:
            try:
                come = self._lines.get(timeout=0.2)
            except queue.Empty:
                poke()
                continue
            if come is None:
                break
            if re.search(pattern, come[1]):
                return come[0] - self._begin
            said.append(come[1])
        raise NotPossible(f"it did not say {pattern!r} but {''.join(said)[-500:].strip()!r}")

    def resident(self) -> float:
        """MB at most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1e3 if found else 0.0

    def stop(self) -> float:
        """Ends it as Ctrl-C does, by force after a minute; seconds until it has ended."""
        begin = time.perf_counter()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.close()
        return time.perf_counter() - begin

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


@contextmanager
def started(tracer: Tracer) -> Iterator[Running]:
    begin = time.perf_counter()
    with subprocess.Popen(
        tracer.words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | dict(tracer.environment),
    ) as process:  # fmt: skip
        running = Running(process, begin)
        try:
            yield running
        finally:
            running.close()
