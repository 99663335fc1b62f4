"""Take out of a process what gotap has put into its code: jumps, trampolines, memory. Also what a gotap left that was
killed: the process serves all the while, as jumps stay valid until they are taken out.

A gotap that is still attached by springboards or hooks is asked to leave first (SIGUSR1): it lets go of all its
targets, shows what it has, and ends; a program that it has started goes on. Uprobes need nothing of this: they end
with the gotap that attached them.

  gotap detach 4711
  gotap detach server

Exit code: 0 when nothing of gotap's is left in any of the processes; 1 when something had to stay, or one of them
could not be stopped.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gotap.errors import GotapError

if TYPE_CHECKING:
    from gotap.inject.patches.leftovers import Removal

#: Seconds that a living gotap has to leave.
PATIENCE = 10.0


class NotLeaving(GotapError):
    """A gotap that is alive stays attached."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", metavar="PID|NAME|PATH", help="processes to leave")


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.main import FAILED, OK, print_error
    from gotap.process.find import resolve

    code, pids = OK, dict[int, None]()
    for name in arguments.targets:
        try:
            pids |= dict.fromkeys(resolve(name))
        except GotapError as error:
            print_error(error)
            code = FAILED
    for pid in pids:
        try:
            if not detach(pid):
                code = FAILED
        except GotapError as error:
            print_error(error, str(pid))
            code = FAILED
    return code


def detach(pid: int) -> bool:
    """Whether nothing of gotap's is left. Raises NotLeaving, TraceeError, PatchError, ProcessError."""
    from gotap.commands.streams import say
    from gotap.inject.patches.leftovers import Life, leftovers, remove

    found = leftovers(pid)
    asked = {one.owner for one in found if one.life is Life.ALIVE and one.owner is not None}
    dismiss(asked, pid)
    unseen = sum(one.life is Life.UNSEEN for one in leftovers(pid))
    removal = remove(pid)
    say(f"{pid}: {told(removal, len(asked), unseen)}")
    return removal.is_complete


def dismiss(owners: Iterable[int], pid: int) -> None:
    """Asks each gotap to leave and waits until it has ended. Raises NotLeaving."""
    for owner in owners:
        try:
            descriptor = os.pidfd_open(owner)
        except ProcessLookupError:
            continue
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
            ended, _, _ = select.select([descriptor], [], [], PATIENCE)
        except ProcessLookupError:
            continue
        except PermissionError:
            raise NotLeaving(
                f"gotap {owner}, which is attached to {pid}, is another user's", f"sudo gotap detach {pid}"
            ) from None
        finally:
            os.close(descriptor)
        if not ended:
            raise NotLeaving(
                f"gotap {owner}, attached to {pid}, was asked to leave {PATIENCE:.0f} s ago and is still there",
                f"kill -9 {owner} && gotap detach {pid}",
            )


def told(removal: Removal, asked: int, unseen: int) -> str:
    """One line."""
    parts = []
    if asked:
        parts.append("the gotap that was attached has left")
    if unseen:
        parts.append("it was put there from another pid namespace; if that gotap lives, it sees nothing any more")
    if removal.restored:
        parts.append(f"{removal.restored:,} {'jump' if removal.restored == 1 else 'jumps'} taken out")
    parts += [f"the jump at {one.patch.address:#x} stays: {one.reason}" for one in removal.kept]
    if removal.mapped:
        parts.append(f"{removal.mapped >> 10:,} KB of trampolines stay mapped, since a thread may still be in them: "
                     "try again later")  # fmt: skip
    return "; ".join(parts) or "nothing of gotap's was in it"
