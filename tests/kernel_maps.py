"""The kernel's maps as tests hand them to bpf(2) by themselves."""

from __future__ import annotations

from collections.abc import Mapping

from gotap.bpf import machine
from gotap.kernel.bpf import Map


def fds(maps: Mapping[str, machine.Map]) -> dict[str, int]:
    """Descriptors by the names that programs use."""
    return {name: fd(map) for name, map in maps.items()}


def fd(map: machine.Map) -> int:
    assert isinstance(map, Map)
    return map.fd
