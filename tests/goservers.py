"""The Go programs of tests/programs as running processes: servers with their addresses and counts, clients by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import PATIENCE


@dataclass(slots=True)
class Server:
    """A running server. `addresses`: http, https, h2c as it printed them, HOST:PORT each."""

    process: subprocess.Popen[str]
    addresses: dict[str, str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def http(self) -> str:
        return self.addresses["http"]

    def url(self, path: str = "", listener: str = "http") -> str:
        scheme = "https" if listener == "https" else "http"
        return f"{scheme}://{self.addresses[listener]}{path}"

    def stop(self) -> Any:
        """Ends it with SIGTERM; its own counts."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=PATIENCE)
        counts = next((line for line in out.splitlines() if line.startswith("counts ")), "counts null")
        return json.loads(counts.removeprefix("counts "))


@contextmanager
def serving(
    executable: Path, *arguments: str, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Iterator[Server]:
    """Starts a server and waits until its listeners accept; killed at the end. `prefix`: what executes it."""
    process = _start([*prefix, str(executable), *arguments], environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening "), f"{executable} said {line!r}"
        yield Server(process, dict(part.split("=", 1) for part in line.split()[1:]))
    finally:
        _end(process)


@dataclass(slots=True)
class Client:
    """tests/programs/httpserver as a client that takes its orders by line: the process is there before its calls."""

    process: subprocess.Popen[str]
    outcomes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def call(self, url: str, mode: str = "get", n: int = 1) -> dict[str, Any]:
        """What the client saw: calls, status, errors (by innermost Go type)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{mode} {url} {n}\n")
        self.process.stdin.flush()
        outcome: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.outcomes.append(outcome)
        return outcome


@contextmanager
def calling(executable: Path, *, environment: Mapping[str, str] | None = None) -> Iterator[Client]:
    process = _start([str(executable), "-interactive"], environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Client(process)
    finally:
        _end(process)


def run_client(executable: Path, *arguments: str) -> dict[str, Any]:
    """Runs a program that prints one JSON object (httpload, httpserver -client)."""
    done = subprocess.run([str(executable), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _start(command: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment} if environment is not None else None,
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
