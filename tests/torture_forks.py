"""The real command many times over, without the loading of Python before each: forks of a process that has loaded it.

A child runs `gotap.commands.main.main` with its own words, environment and outputs, and is killed, interrupted and
waited for like any other process. What the first one has loaded the next ones find loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli import ATTACHED, Finished, clean_environment
from processes import PATIENCE, eventually


class Forked:
    """One gotap that has been started."""

    def __init__(self, forks: Forks, pid: int, directory: str) -> None:
        self._forks = forks
        self.pid = pid
        self._out, self._err = Path(directory, "out"), Path(directory, "err")
        self._code: int | None = None

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self._code is None:
            self._code = self._forks.ask({"poll": self.pid})["code"]
        return self._code

    def wait_for(self, text: str = ATTACHED) -> None:
        def look() -> bool:
            ended = self.poll() is not None
            if text in self.err:
                return True
            assert not ended, f"exit code {self._code} without {text!r}:\n{self.err}"
            return False

        eventually(look, f"{text!r} on stderr")

    def finish(self, number: int = 0) -> Finished:
        """Sends a signal, if one is named, and waits for the end."""
        if number:
            os.kill(self.pid, number)
        eventually(lambda: self.poll() is not None, f"the end of gotap, which said {self.err}")
        code = self._code or 0
        assert "Traceback (most recent call last)" not in self.err, self.err
        return Finished(128 - code if code < 0 else code, self._out.read_bytes(), self.err)


class Forks:
    """The process that has everything loaded."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, what: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    @contextmanager
    def started(self, *words: str, environment: Mapping[str, str] | None = None) -> Iterator[Forked]:
        """Killed at the end if it is still there."""
        with tempfile.TemporaryDirectory(prefix="gotap-forks-") as directory:
            for name in ("out", "err"):
                Path(directory, name).touch()
            order = {"words": words, "directory": directory, "environment": dict(environment or {})}
            one = Forked(self, self.ask(order)["pid"], directory)
            try:
                yield one
            finally:
                if one.poll() is None:
                    os.kill(one.pid, signal.SIGKILL)
                    eventually(lambda: one.poll() is not None, "the end of a gotap that was killed")

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> Finished:
        with self.started(*words, environment=environment) as one:
            return one.finish()


@contextmanager
def forks() -> Iterator[Forks]:
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        try:
            yield Forks(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


# The other side


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    learned, teach = os.pipe()
    os.set_blocking(learned, False)
    known: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order:
            answer: dict[str, Any] = {"code": _code(order["poll"], known)}
        else:
            _learn(learned)
            pid = os.fork()
            if not pid:
                _become_gotap(order, teach)
            known.add(pid)
            answer = {"pid": pid}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _code(pid: int, known: set[int]) -> int | None:
    if pid not in known:
        return 0
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    known.remove(pid)
    return os.waitstatus_to_exitcode(status)


def _learn(pipe: int) -> None:
    """Loads what children have come to load."""
    with contextlib.suppress(BlockingIOError):
        while names := os.read(pipe, 1 << 16):
            for name in names.decode().split():
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)


def _become_gotap(order: Mapping[str, Any], teach: int) -> None:
    code = 70
    try:
        os.environ |= order["environment"]
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(Path(order["directory"], name), os.O_WRONLY), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        from gotap.commands.main import main
        from gotap.process import ptrace

        ptrace._DIE_AT = int(order["environment"].get("GOTAP_TEST_DIE_AT", "0"))  # it was read when that was loaded
        try:
            code = main(order["words"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        new = [name for name in sys.modules if name.startswith(("gotap.", "numpy", "msgspec", "iced_x86", "yaml"))]
        os.set_blocking(teach, False)
        with contextlib.suppress(BlockingIOError):
            os.write(teach, (" ".join(new[:800]) + " ").encode())
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve()
