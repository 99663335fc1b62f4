"""The root of gotap's errors: what happened, why, and the remedy, in that order."""

from __future__ import annotations


class GotapError(Exception):
    """An error that a person can act on; rooms derive one type per cause from it.

    `str()` is what happened and why, one sentence; `remedy` is what to do about it, a command to type
    where there is one, or empty. `commands` prints both and never a traceback. `excerpt`: lines of what the user wrote
    that show where it is wrong; they are printed between the two.
    """

    excerpt: tuple[str, ...] = ()

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy
