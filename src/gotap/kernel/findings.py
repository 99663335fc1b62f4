"""The findings about a host's kernel, as plain data: what attaching asks and `gotap doctor` shows."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct


class Feature(Struct, frozen=True):
    """One finding. `needed`: without it no process can be watched. `remedy` is empty when there is nothing to do.

    `tried` False: it could not be found out, since something that is missing stands before it.
    """

    id: str
    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = False
    tried: bool = True


class Features(Struct, frozen=True):
    """Findings by id, in the order in which they are shown."""

    found: dict[str, Feature]

    def __getitem__(self, feature: str) -> Feature:
        return self.found[feature]

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.found.values())

    def has(self, feature: str) -> bool:
        """False also for what was not tried."""
        return feature in self.found and self.found[feature].ok

    def missing(self) -> list[Feature]:
        """What stands in the way of watching, as far as could be tried."""
        return [one for one in self if one.needed and not one.ok and one.tried]

    @property
    def watchable(self) -> bool:
        return all(one.ok for one in self if one.needed)
