"""What can go wrong between gotap and its Go helper."""

from __future__ import annotations

from gotap.weave.errors import WeaveError


class HelperNotBuilt(WeaveError):
    """The user's toolchain does not build the helper."""


class HelperFailed(WeaveError):
    """The helper ended without an answer."""
