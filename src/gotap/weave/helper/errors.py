"""What can go wrong between gotap and its Go helper."""

from __future__ import annotations

from gotap.errors import GotapError


class HelperNotBuilt(GotapError):
    """The user's toolchain does not build the helper."""


class HelperFailed(GotapError):
    """The helper ended without an answer."""
