"""What keeps a program from being woven, one type per cause."""

from __future__ import annotations

from gotap.errors import GotapError


class NoGo(GotapError):
    """There is no Go toolchain, or it does not run."""


class UnsupportedGo(GotapError):
    """The toolchain is older or newer than what gotap's rules were checked with."""


class ListError(GotapError):
    """`go list` cannot load the packages: the build would fail in the same way."""


class CacheError(GotapError):
    """gotap's cache cannot be written."""


class NotComposable(GotapError):
    """Something that the user asks of the go command cannot be had together with weaving."""


class RuleError(GotapError):
    """A rule cannot be applied to the program."""


class Unresolved(GotapError):
    """There is no go.mod with the modules that rules need."""
