"""Facts of the Go runtime that hold for a range of versions, picked for one."""

from __future__ import annotations

from gotap.image.facts.goversion import GoVersion
from gotap.probe.catalogue import runtime


def wait_reasons(version: GoVersion) -> tuple[str, ...]:
    """Texts of runtime.waitReason by number. Of a Go newer than any that is known: those of the newest."""
    chosen: tuple[str, ...] = ()
    for table in runtime().wait_reasons:
        if version.at_least(*map(int, table.since.split("."))):
            chosen = table.texts
    return chosen
