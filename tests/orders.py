"""tests/programs/orders as a running process: functions are called when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from processes import running


class Orders:
    def __init__(self, process: Popen[str]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def give(self, *orders: str) -> None:
        """Each is carried out when this returns."""
        assert self.process.stdin is not None
        for order in orders:
            self.process.stdin.write(f"{order}\n")
            self.process.stdin.flush()
            self.expect("done")

    def send(self, order: str) -> None:
        """One that is not answered."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        assert said == line, said


@contextmanager
def taking_orders(executable: Path) -> Iterator[Orders]:
    with running(str(executable)) as process:
        orders = Orders(process)
        orders.expect("ready")
        yield orders
