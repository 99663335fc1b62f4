"""The real command, started as a user starts it, and what the kernel says of its process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.programs import NotPossible, process_cpu


class Gotap:
    """A running `gotap attach`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid

    def wait_attached(self) -> None:
        """Until it says that all probes are in place; raises NotPossible with what it said when it ends instead."""
        said = []
        assert self.process.stderr is not None
        while line := self.process.stderr.readline():
            if "attached to PID" in line:
                return
            said.append(line)
        raise NotPossible(f"gotap ended: {''.join(said)}")

    def cpu(self) -> int:
        """ns, of all threads."""
        return process_cpu(self.pid)

    def resident(self) -> tuple[int, int]:
        """Resident bytes: now, and the most so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        now, most = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
        assert now is not None
        assert most is not None
        return int(now[1]) << 10, int(most[1]) << 10

    def map_memory(self) -> int:
        """Bytes that the kernel charges for the BPF maps whose descriptors it holds."""
        sizes = {}
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            if os.readlink(descriptor) == "anon_inode:bpf-map":
                text = Path(f"/proc/{self.pid}/fdinfo/{descriptor.name}").read_text()
                numbers = {
                    key: int(value) for key, value in re.findall(r"^(map_id|memlock):\s+(\d+)$", text, re.MULTILINE)
                }
                sizes[numbers["map_id"]] = numbers["memlock"]  # a map that is mapped has several descriptors
        return sum(sizes.values())

    def stop(self) -> str:
        """Ends it as Ctrl-C does; returns what it said at the end."""
        self.process.send_signal(2)
        return self.process.communicate(timeout=60)[1]


@contextmanager
def gotap(
    *arguments: str, environment: Mapping[str, str] | None = None, stdout: int | IO[str] = subprocess.DEVNULL
) -> Iterator[Gotap]:
    """`gotap ARGUMENTS…` from the environment that runs the benchmark; killed at the end if it still runs."""
    with subprocess.Popen(
        command(*arguments),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | dict(environment or {}),
    ) as process:
        try:
            yield Gotap(process)
        finally:
            process.kill()


def command(*arguments: str) -> list[str]:
    script = Path(sys.executable).with_name("gotap")
    return [*([str(script)] if script.exists() else [sys.executable, "-m", "gotap"]), *arguments]
