"""How long `gotap ps` takes on a host with 300 processes: when it has seen none of the programs, and with its cache."""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gotap as gotap_package
from bench.command import command
from bench.measure import alternate, verdict
from bench.programs import SERVICE, build

#: Bounds of the issue, ms of elapsed time on a machine with nothing else to do; so CPU time is what is compared.
MOST_COLD, MOST_CACHED = 1000, 200

PROCESSES = 300
#: Different files, of which a quarter are Go programs: each has to be read once.
FILES = 40


def run(arguments: argparse.Namespace) -> None:
    if os.geteuid() == 0 and os.getpid() != 1:
        # A pid namespace of its own: else other processes come and go meanwhile, and their programs must be read.
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        subprocess.run([*alone, sys.executable, "-m", "bench", "ps", f"--rounds={arguments.rounds}"], check=True)
        return
    compileall.compile_dir(str(Path(gotap_package.__file__).parent), quiet=1)  # as pip does when it installs
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gotap-bench-")))
        stack.enter_context(fleet(directory))
        cache = directory / "cache"
        cache.mkdir()

        def listed(keep: bool) -> Callable[[], float]:
            def once() -> float:
                if not keep:
                    shutil.rmtree(cache / "gotap", ignore_errors=True)
                return spent([*command("ps")], {"XDG_CACHE_HOME": str(cache)})

            return once

        spent(command("ps"), {"XDG_CACHE_HOME": str(cache)})
        found = alternate(
            {
                "ps aux": lambda: spent(["ps", "aux"], {}),
                "python -c pass": lambda: spent([sys.executable, "-c", "pass"], {}),
                "gotap ps, cold": listed(keep=False),
                "gotap ps, cached": listed(keep=True),
            },
            max(arguments.rounds, 5),
        )
    print(f"  {PROCESSES} processes of {FILES} programs; ms of CPU", flush=True)
    bounds = {"gotap ps, cold": MOST_COLD, "gotap ps, cached": MOST_CACHED}
    for name, values in found.items():
        bound = verdict(values.median, bounds[name], "ms", 0) if name in bounds else ""
        print(f"  {name:<26}{values.text('ms', 0):<24}{bound}", flush=True)


@contextmanager
def fleet(directory: Path) -> Iterator[None]:
    """PROCESSES that wait, of FILES executables of their own."""
    go, other = build(SERVICE, stripped=True), Path(shutil.which("cat") or "/bin/cat")
    programs = []
    for number in range(FILES):
        programs.append(directory / f"service{number}")
        shutil.copy(go if number % 4 == 0 else other, programs[-1])
    running = []
    try:
        for number in range(PROCESSES):
            program = programs[number % FILES]
            running.append(subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.communicate()


def spent(arguments: list[str], environment: dict[str, str]) -> float:
    """ms of CPU time, user's and kernel's, of a command that must succeed."""
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=os.environ | environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {child.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1e3
