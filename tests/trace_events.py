"""Events for tests: batches as if they had been decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gotap.probe.script.bound import EventKind, EventSpec, Part, PartKind, SiteInfo
from gotap.probe.script.routine import Ended
from gotap.signals.events import Events, Field

#: Unix ns of the first event: 2020-09-13 12:26:40 UTC.
START = 1_600_000_000_000_000_000

SITE = SiteInfo("main.prepareAnswer", "main", "/src/main.go", 52, 0x401000)

Column = tuple[PartKind, Sequence[Any]]


def calls(
    count: int = 1,
    *,
    probe: str = "main.prepareAnswer",
    args: Mapping[str, Column] | None = None,
    results: Mapping[str, Column] | None = None,
    ended: Ended | Sequence[Ended] = Ended.RETURN,
    latency: int | Sequence[int] | None = 1_230_000,
    goid: int | Sequence[int] = 7,
    end: Sequence[int] | None = None,
    site: SiteInfo | None = SITE,
    weight: int = 1,
    stack: list[Any] | None = None,
) -> Events:
    """`end`: ns after START, a second apart by default."""

    def each(value: Any) -> list[Any]:
        return list(value) if isinstance(value, Sequence) else [value] * count

    times = [START + one for one in (end if end is not None else [1_000_000_000 * row for row in range(count)])]
    fields, given = _fields(args), _fields(results)
    spec = EventSpec(EventKind.CALL, probe, args=tuple((one.name, one.part) for one in fields),
                     results=tuple((one.name, one.part) for one in given))  # fmt: skip
    return Events(
        spec=spec,
        time=times,
        order=list(range(count)),
        pid=[99] * count,
        tid=[100] * count,
        goid=each(goid),
        site=[site] * count,
        function=[site.function if site is not None else ""] * count,
        weight=[weight] * count,
        ended=[int(one) for one in each(ended)],
        latency=None if latency is None else each(latency),
        fields=fields,
        results=given,
        stack=stack,
    )


def _fields(columns: Mapping[str, Column] | None) -> tuple[Field, ...]:
    return tuple(Field(name, Part(kind), list(values)) for name, (kind, values) in (columns or {}).items())
