"""Under `attach`: a watched process that executes another program is attached to anew."""

from __future__ import annotations

import time

from gotap.commands.main import print_error
from gotap.commands.session import Session
from gotap.commands.streams import say
from gotap.errors import GotapError

#: Seconds between two looks.
_INTERVAL = 0.5


class Successors:
    """Looks at what the targets execute; probes went with the old program's memory, or stand in the old file."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.next = 0.0

    def look(self) -> None:
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + _INTERVAL
        for target in [one for one in self.session.watched.values() if one.has_become_another()]:
            pid = target.pid
            self.session.remove(target)
            try:
                successor = self.session.add(pid)
            except GotapError as error:
                print_error(error, f"{pid} executed another program")
            else:
                say(f"{pid} executed another program ({successor.process.name}), which is watched now")
