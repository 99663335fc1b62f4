"""The findings about a host's kernel, as plain data: what attaching asks and `gotap doctor` shows."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct


class Feature(Struct, frozen=True):
    """One finding. `needed`: without it no process can be watched. `remedy` is empty when there is nothing to do."""

    id: str
    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = False


class Features(Struct, frozen=True):
    """Findings by id, in the order in which they are shown."""

    found: dict[str, Feature]

    def __getitem__(self, feature: str) -> Feature:
        return self.found[feature]

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.found.values())

    def has(self, feature: str) -> bool:
        """False also for what was not probed."""
        return feature in self.found and self.found[feature].ok

    def missing(self) -> list[Feature]:
        """What stands in the way of watching."""
        return [one for one in self if one.needed and not one.ok]

    @property
    def watchable(self) -> bool:
        return not self.missing()
