"""tests/programs/torture in all the ways it is built, as a running process that takes orders and knows its calls."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import gobuild
from processes import PATIENCE

#: Releases of the full run: the first with each shape of prologue, epilogue and runtime, and the newest.
RELEASES = ("1.18.10", "1.21.13", "1.24.13", "1.26.8", "1.27.4")

#: The noises of the program, all of them by default.
NOISES = ("garbage", "stacks", "profile", "procs", "churn")

#: The observed functions: all of them are entered; those that may panic; those that cgo builds have besides, and those
#: in which hooks are not safe while goroutines may be anywhere.
FUNCTIONS = (
    "main.pair", "main.text", "main.several", "main.generic", "main.makeClosure.func1", "main.(*thing).pointer",
    "main.thing.value", "main.grow", "main.fails", "main.middle", "main.survives", "main.spin", "main.fresh",
)  # fmt: skip
PANICKING = ("main.fails", "main.middle")
CALLED_BY_C = "main.fromC"
NOT_FOR_HOOKS = "main.leaf"


@dataclass(frozen=True, slots=True)
class Build:
    """A way of building: the mode of tests/gobuild.py, more flags, and whether C calls back."""

    mode: str
    flags: tuple[str, ...] = ()
    callbacks: bool = False


BUILDS = {
    "static": Build("cgo0"),
    "PIE, stripped": Build("cgo0", ("-buildmode=pie", "-ldflags=-s -w")),
    "external": Build("external", callbacks=True),
    "musl, static cgo": Build("musl", ("-ldflags=-linkmode=external -extldflags=-static -s -w",), callbacks=True),
    "-race": Build("race", callbacks=True),
    "-N -l": Build("cgo0", ("-gcflags=all=-N -l",)),
}


def executable(build: str = "static", go: str = gobuild.NEWEST) -> Path:
    """Built once and kept. Raises gobuild.MissingTool, gobuild.BuildFailed."""
    recipe = BUILDS[build]
    tags = ("-tags=callbacks",) if recipe.callbacks else ()
    return gobuild.build("torture", go, mode=recipe.mode, flags=(*recipe.flags, *tags))


def observed(build: str, mechanism: str) -> tuple[str, ...]:
    """The functions that this build calls, as far as the mechanism can observe them."""
    callbacks = (CALLED_BY_C,) if BUILDS[build].callbacks else ()
    leaves = (NOT_FOR_HOOKS,) if mechanism != "hook" else ()
    return (*FUNCTIONS, *callbacks, *leaves)


@dataclass(slots=True)
class Torture:
    """A running one. Whatever is asked of it raises AssertionError when it has died or hangs, with how."""

    process: subprocess.Popen[str]
    executable: Path
    errors: IO[str]
    pid: int

    def order(self, *words: object, patience: float = PATIENCE) -> Any:
        """Gives an order and waits for its answer, at most `patience` seconds."""
        self.give(*words)
        return self.answer(patience)

    def give(self, *words: object) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"the target is gone: {self.fate()}") from None

    def answer(self, patience: float = PATIENCE) -> Any:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], patience)[0]:
            self.process.send_signal(signal.SIGQUIT)  # Go tells where its goroutines are
            raise AssertionError(f"the target hangs: {self.fate()}")
        line = self.process.stdout.readline()
        assert line, f"the target is gone: {self.fate()}"
        return json.loads(line)

    def fate(self) -> str:
        """How it ended, and the beginning of what Go said of it."""
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "it does not end"
        self.errors.seek(0)
        return f"{signal.Signals(-code).name if code < 0 else f'exit code {code}'}\n{self.errors.read()[:4000]}"

    def works(self) -> None:
        """Raises AssertionError unless it still counts as it should."""
        told = self.order("measure", 40)
        assert told["main.text"] == 240, told

    def is_alive(self) -> bool:
        return self.process.poll() is None


@contextmanager
def torture(
    build: str = "static",
    go: str = gobuild.NEWEST,
    *,
    noises: Sequence[str] = NOISES,
    workers: int = 4,
    loaded: bool = True,
    pause: int = 1,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    **options: Any,
) -> Iterator[Torture]:
    """Starts the program, with rounds of calls in the background if `loaded`; killed at the end.

    `pause`: µs that each worker rests between two of those rounds, more than 1, or it does not rest.
    No profile goes on where the program executes itself: the timer of one would go on too, and SIGPROF kill it.
    `prefix` is a command that executes it; `options` are those of Popen.
    """
    path = executable(build, go)
    variables = {**os.environ, "GOGC": "5", "GOTRACEBACK": "all", **(environment or {})}
    words = [*prefix, str(path), f"-noise={','.join(noises)}", f"-workers={workers}"]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:  # it never holds up the program that writes to it
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables, **options
        )
        one = Torture(process, path, errors, process.pid)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "ready\n", f"{path} said {line!r}: {one.fate()}"
            one.pid = _itself(process.pid, path)
            if loaded:
                one.order("load", pause)
            yield one
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    pipe and pipe.close()


def _itself(pid: int, path: Path) -> int:
    """The program is the process that was started, or, if its prefix waits for it, a child of that."""
    name = path.name[:15]
    while Path(f"/proc/{pid}/comm").read_text().strip() != name:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children, f"process {pid} has not become {path}"
        pid = int(children[0])
    return pid
