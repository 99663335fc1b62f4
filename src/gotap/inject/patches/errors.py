"""What can go wrong with patches and trampolines in a process, one type per cause."""

from __future__ import annotations

from gotap.errors import GotapError


class PatchError(GotapError):
    """Any failure to put jumps into a process, or to take them out."""


class NoRoom(PatchError):
    """There are no free addresses for trampolines where the jumps can reach."""


class NewerJournal(PatchError):
    """A journal of a gotap that is newer than this one."""

    def __init__(self, pid: int, version: int) -> None:
        super().__init__(
            f"process {pid} has been patched by a newer gotap (journal version {version})",
            "detach with that version, or a newer one",
        )


class DamagedJournal(PatchError):
    """A journal that does not read as gotap writes it: the process may have overwritten it."""

    def __init__(self, pid: int, what: str) -> None:
        super().__init__(
            f"the journal of patches in process {pid} is damaged: {what}",
            "nothing was changed; the program runs on as it is until it is restarted",
        )
