"""The limit of open descriptors: a watched process takes about forty, so the usual 1024 are too few for thirty."""

from __future__ import annotations

import contextlib
import resource

#: (soft, hard), as the resource module has it.
Limit = tuple[int, int]


def raise_limit() -> Limit:
    """Raises the soft limit to the hard one, as Go's runtime does; returns what it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def set_limit(pid: int, limit: Limit) -> None:
    """Gives a program that gotap has started the limit that it would have without gotap."""
    with contextlib.suppress(OSError):  # it was killed while it was held
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
