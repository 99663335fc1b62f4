"""Whether this host lets gotap do its work."""

from __future__ import annotations

from gotap.errors import GotapError
from gotap.kernel.features import Features, essential, scripting


class HostRefuses(GotapError):
    """This host does not let gotap watch processes."""


def willing_host(purpose: str) -> Features:
    """What the kernel can do. HostRefuses with the remedy when it cannot be worked with; `purpose`: watch, trace."""
    features = scripting() if purpose == "trace" else essential()
    if missing := features.missing():
        first = missing[0]
        raise HostRefuses(f"this host does not let gotap {purpose}: {first.name}: {first.detail}", first.remedy)
    return features
