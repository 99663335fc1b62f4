"""The processes that `run` watches: the program, what it becomes by exec, and the Go programs below it."""

from __future__ import annotations

import time

from gotap.commands.main import print_error
from gotap.commands.session import Session
from gotap.commands.streams import say
from gotap.commands.targets import BecameAnother, NothingToWatch, WatchesItself
from gotap.errors import GotapError
from gotap.image.image import NotGo
from gotap.process.children import ExecWatcher
from gotap.process.errors import ProcessGone
from gotap.process.launch import Program

#: Seconds between two looks at /proc for new programs.
INTERVAL = 0.1


class Descendants:
    """Attaches to every Go program in the tree below `program`; what is not Go is passed over in silence."""

    def __init__(self, session: Session, program: Program) -> None:
        self.session = session
        self.program = program
        self.watcher = ExecWatcher(program.pid)
        self.announced = False
        self.told: set[str] = set()  # why something is not watched
        self.next = 0.0

    def first(self) -> None:
        """The program itself, held at its first instruction. A launcher that is not Go, a shell say, is no error."""
        self.attach(self.program.pid, first=True)

    def look(self) -> None:
        if time.monotonic() < self.next:
            return
        for pid in self.watcher.poll():
            self.attach(pid)
        self.next = time.monotonic() + INTERVAL

    def attach(self, pid: int, *, first: bool = False) -> None:
        for old in [one for one in self.session.watched.values() if one.pid == pid]:
            self.session.remove(old)  # another program runs under this pid now
        try:
            self.session.add(pid)
        except (NotGo, ProcessGone, BecameAnother):  # what it became is seen at the next look
            return
        except NothingToWatch as error:
            if first or isinstance(error, WatchesItself):
                self.tell(error)
            return
        except GotapError as error:
            self.tell(error, str(pid))
            return
        if not self.announced:
            self.announced = True
            self.session.announce()

    def tell(self, error: GotapError, subject: str = "") -> None:
        """What every process of a program is told of, as is the case with a woven one, is told once."""
        if str(error) not in self.told or subject:
            print_error(error, subject)
        self.told.add(str(error))

    def last(self) -> None:
        """A user who sees no span is told why, at the end: before it, a launcher may still start a Go program."""
        if not self.announced and not self.told:
            say("nothing was watched: no Go program with net/http was started")
