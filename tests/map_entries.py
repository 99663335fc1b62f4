"""Entries of maps as the kernel would give them, and a resolver, for tests of what becomes of them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from gotap.observe.scriptmaps import Entry
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind, SiteInfo
from gotap.signals.stacks import Frame

INT, UINT, TEXT = Part(PartKind.INT), Part(PartKind.UINT), Part(PartKind.TEXT, 8 + 16)
DURATION = Part(PartKind.DURATION)


def spec(
    kind: MapKind, *keys: Part, value: Part = INT, bucket: Part | None = None, parameters: tuple[int, ...] = ()
) -> MapSpec:
    return MapSpec(0, "@m", kind, keys, value, bucket, parameters)


def word(value: int) -> bytes:
    return struct.pack("<Q", value % 2**64)


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q16s", len(value) if length is None else length, value)


def entry(*parts: bytes, value: bytes = b"", count: int = 0, sum: int = 0, least: int = 0, greatest: int = 0) -> Entry:
    return Entry(1, parts, value, count, sum, least, greatest)


class Names:
    """Addresses below 0x2000 are a function's."""

    def __init__(self, bias: int = 0) -> None:
        self.bias = bias

    def code(self, address: int) -> str:
        return "main.f" if address - self.bias < 0x2000 else "main.g"

    def type(self, address: int) -> str:
        return f"main.T{address}"

    def site(self, number: int) -> SiteInfo | None:
        return SiteInfo("main.f", "main", "main.go", 42, 0x1000) if number == 3 else None

    def stack(self, addresses: Sequence[int]) -> list[Frame]:
        return [Frame(self.code(address), "main.go", address & 0xFF) for address in addresses]
