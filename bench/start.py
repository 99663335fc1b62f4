"""How long gotap takes until the first probe, to let go, and to show its help; what the time goes into."""

from __future__ import annotations

import argparse
import compileall
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gotap as gotap_package
from bench.command import command, gotap
from bench.measure import Values, alternate, verdict
from bench.programs import NotPossible, service

#: Bounds of docs/benchmarks.md, ms.
MOST_START, MOST_ATTACH, MOST_DETACH, MOST_HELP = 500, 300, 100, 100


def run(arguments: argparse.Namespace) -> None:
    compileall.compile_dir(str(Path(gotap_package.__file__).parent), quiet=1)  # as pip does when it installs
    rounds = max(arguments.rounds, 5)
    found = alternate(
        {
            "python -c pass": lambda: elapsed([sys.executable, "-c", "pass"]),
            "python -c 'import numpy'": lambda: elapsed([sys.executable, "-c", "import numpy"]),
            "gotap --help": lambda: elapsed(command("--help")),
        },
        rounds,
    )
    for name, values in found.items():
        bound = verdict(values.median, MOST_HELP, "ms", 0) if name.startswith("gotap") else ""
        print(f"  {name:<26}{values.text('ms', 0):<24}{bound}", flush=True)
    with service() as small:
        attach_and_detach(small.pid, small.executable, rounds)
    for pid in arguments.pid:
        attach_and_detach(pid, Path(f"/proc/{pid}/exe").resolve(), rounds)


def elapsed(words: list[str]) -> float:
    """ms until it has ended."""
    begin = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3


def attach_and_detach(pid: int, executable: Path, rounds: int) -> None:
    text = Text(pid)
    starts, spent, stops, probes = [], [], [], 0
    for _ in range(rounds):
        begin = time.perf_counter()
        with gotap("attach", str(pid), "--to", "json") as agent:
            agent.wait_attached()
            starts.append((time.perf_counter() - begin) * 1e3)
            spent.append(agent.cpu() / 1e6)
            probes = text.changed()
            if not probes:
                raise NotPossible(f"gotap says that it is attached, but the text of {pid} is as before")
            begin = time.perf_counter()
            agent.process.send_signal(2)
            text.wait_restored()
            stops.append((time.perf_counter() - begin) * 1e3)
            agent.process.communicate()
    phases = [json.loads(subprocess.run(
        [sys.executable, "-m", "bench.phases", str(pid)], check=True, capture_output=True, text=True
    ).stdout) for _ in range(rounds)]  # fmt: skip
    print(f"  {executable.name}, {executable.stat().st_size / 1e6:.0f} MB, {probes} probes:")
    for name, all, most in (
        ("exec to attached", starts, MOST_START),
        ("  CPU until then", spent, MOST_START),
        ("SIGINT to text restored", stops, MOST_DETACH),
    ):
        values = Values(tuple(all))
        print(f"    {name:<26}{values.text('ms', 0):<24}{verdict(values.median, most, 'ms', 0)}")
    tell_phases(phases)


def tell_phases(phases: list[dict[str, tuple[float, float]]]) -> None:
    """The clock, and CPU time, of each phase of an attachment in a process of its own."""
    attaching = Values(tuple(sum(one[name][0] for name in one if name.startswith("attach: ")) for one in phases))
    print(f"    {'of it attaching':<26}{attaching.text('ms', 0):<24}{verdict(attaching.median, MOST_ATTACH, 'ms', 0)}")
    for name in phases[0]:
        clock, cpu = (Values(tuple(one[name][index] for one in phases)) for index in (0, 1))
        print(f"      {name:<24}{clock.text('ms', 0):<24}CPU {cpu.text('ms', 0)}")


class Text:
    """A process's executable memory as it is now; later looks tell what was changed, without asking gotap."""

    def __init__(self, pid: int) -> None:
        self._memory = Path(f"/proc/{pid}/mem").open("rb", buffering=0)  # noqa: SIM115
        maps = Path(f"/proc/{pid}/maps").read_text()
        exe = str(Path(f"/proc/{pid}/exe").resolve())
        self._ranges = [
            (int(start, 16), int(end, 16))
            for start, end, path in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ \S+ +(.*)$", maps, re.MULTILINE)
            if path == exe
        ]
        self._before = self._read()
        self._places: list[tuple[int, int]] = []  # address, byte as it was

    def _read(self) -> list[NDArray[np.uint8]]:
        found = []
        for start, end in self._ranges:
            self._memory.seek(start)
            found.append(np.frombuffer(self._memory.read(end - start), np.uint8))
        return found

    def changed(self) -> int:
        """How many bytes differ from the first look."""
        self._places = []
        for (start, _), old, new in zip(self._ranges, self._before, self._read(), strict=True):
            self._places += [(start + int(at), int(old[at])) for at in np.flatnonzero(old != new)]
        return len(self._places)

    def wait_restored(self) -> None:
        """Until all those bytes are as they were; raises NotPossible after ten seconds."""
        limit = time.perf_counter() + 10
        for address, byte in self._places:
            while self._at(address) != byte:
                if time.perf_counter() > limit:
                    raise NotPossible(f"the text at {address:#x} was not restored within 10 s")

    def _at(self, address: int) -> int:
        self._memory.seek(address)
        return self._memory.read(1)[0]
