"""A fact and where it comes from: what every rule of reading gives."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Told(NamedTuple, Generic[T]):
    """`evidence` is one line: what was seen in the file, or, for None, why it cannot be told."""

    value: T
    evidence: str


class Evidence(dict[str, str]):
    """Key of a fact → its evidence, filled as the facts are taken."""

    def take(self, key: str, told: Told[T]) -> T:
        """The value; its evidence is kept under the key."""
        self[key] = told.evidence
        return told.value
