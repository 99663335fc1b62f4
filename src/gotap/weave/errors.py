"""What keeps a program from being woven, one type per cause."""

from __future__ import annotations

from gotap.errors import GotapError


class WeaveError(GotapError):
    """Behind the first line of a message stands what another program says: it is the excerpt."""

    def __init__(self, message: str, remedy: str = "") -> None:
        first, *rest = message.splitlines()
        super().__init__(first, remedy)
        self.excerpt = tuple(line.expandtabs(4) for line in rest)

    @property
    def whole(self) -> str:
        return "\n".join([str(self), *self.excerpt])


class NoGo(WeaveError):
    """There is no Go toolchain, or it does not run."""


class UnsupportedGo(WeaveError):
    """The toolchain is older or newer than what gotap's rules were checked with."""


class ListError(WeaveError):
    """The packages cannot be loaded: the build would fail in the same way."""


class FilesChange(WeaveError):
    """Somebody else writes the files that are to be woven."""


class NoDirectory(WeaveError):
    """The directory in which the go command is to run is not there."""


class CacheError(WeaveError):
    """gotap's cache cannot be written, or is nowhere."""


class NotComposable(WeaveError):
    """Something that the user asks of the go command cannot be had together with weaving."""


class RuleError(WeaveError):
    """A rule cannot be applied to the program."""


class Unresolved(WeaveError):
    """There is no go.mod with the modules that rules need."""
