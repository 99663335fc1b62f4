"""tests/programs/waits: a C program whose threads wait and compute in every way, and notice whoever disturbs them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gobuild import PROGRAMS, MissingTool
from processes import eventually, running

SOURCE = PROGRAMS / "waits" / "waits.c"
#: The threads, by what they do; named so.
WAITS = ("spin", "sleep", "futex", "futex_timed", "pause", "suspend", "poll", "epoll", "read", "select", "ppoll")


def executable(compiler: str = "gcc", *flags: str) -> Path:
    """Compiled once and kept beside the Go programs. Raises MissingTool."""
    if shutil.which(compiler) is None:
        raise MissingTool(f"{compiler} is not installed (Debian package {compiler}, musl-tools)")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gotap-tests"
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join((compiler, *flags)).encode()).hexdigest()[:16]
    built = cache / f"waits-{digest}" / "waits"
    built.parent.mkdir(parents=True, exist_ok=True)
    with (built.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            command = [compiler, "-O1", "-pthread", *flags, "-o", f"{built}.new", str(SOURCE)]
            subprocess.run(command, check=True, capture_output=True)
            os.replace(f"{built}.new", built)
    return built


class Waiting:
    """The running program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.pid = process, process.pid
        assert self._line() == "ready\n"

    def rounds(self) -> dict[str, int]:
        """How often each thread has done what it does; fails when one has been disturbed."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then it says why
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        words = self._line().split()
        return {name: int(count) for name, _, count in (word.partition("=") for word in words)}

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "=" in line or line == "ready\n", f"the program noticed: {line}"
        return line

    def goes_on(self, names: Sequence[str] = WAITS) -> None:
        """Returns when each of the threads has begun and ended a round."""
        before = self.rounds()

        def moved() -> bool:
            now = self.rounds()
            return all(now[name] >= before[name] + 2 for name in names)

        eventually(moved, "a round of every thread")

    def thread(self, name: str) -> int:
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            if Path(f"/proc/{self.pid}/task/{thread}/comm").read_text().strip() == name:
                return int(thread)
        raise AssertionError(f"there is no thread {name}")


@contextmanager
def waiting(path: Path | None = None, **options: object) -> Iterator[Waiting]:
    with running(str(path or executable()), **options) as process:
        yield Waiting(process)
