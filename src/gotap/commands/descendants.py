"""The processes that `run` watches: the program, what it becomes by exec, and the Go programs below it."""

from __future__ import annotations

import time

from gotap.commands.main import print_error
from gotap.commands.session import Session
from gotap.commands.targets import NothingToWatch
from gotap.errors import GotapError
from gotap.image.image import NotGo
from gotap.process.children import ExecWatcher
from gotap.process.errors import ProcessGone
from gotap.process.launch import Program

#: Seconds between two looks at /proc for new programs.
_INTERVAL = 0.1


class Descendants:
    """Attaches to every Go program in the tree below `program`; what is not Go is passed over in silence."""

    def __init__(self, session: Session, program: Program) -> None:
        self.session = session
        self.program = program
        self.watcher = ExecWatcher(program.pid)
        self.announced = False
        self.next = 0.0

    def first(self) -> None:
        """The program itself, held at its first instruction. A launcher that is not Go, a shell say, is no error."""
        self.attach(self.program.pid, first=True)

    def look(self) -> None:
        if time.monotonic() < self.next:
            return
        for pid in self.watcher.poll():
            self.attach(pid)
        self.next = time.monotonic() + _INTERVAL

    def attach(self, pid: int, *, first: bool = False) -> None:
        for old in [one for one in self.session.watched.values() if one.pid == pid]:
            self.session.remove(old)  # another program runs under this pid now
        try:
            self.session.add(pid)
        except (NotGo, ProcessGone):
            return
        except NothingToWatch as error:
            if first:
                print_error(error)
            return
        except GotapError as error:
            print_error(error, str(pid))
            return
        if not self.announced:
            self.announced = True
            self.session.announce()
