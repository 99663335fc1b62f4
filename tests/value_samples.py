"""Memory made by hand, types declared as text, and a context for them: for what no live program shows at will."""

from __future__ import annotations

import struct
from typing import Any

from gotap.image.facts.goversion import GoVersion
from gotap.image.types.declared import DeclaredTypes
from gotap.image.types.descriptor import TypesDamaged
from gotap.image.types.gotypes import Kind, Type, TypeRef
from gotap.probe.script.limits import Limits
from gotap.signals.values import Context, Hole, Value, decode
from gotap.signals.values.memory import Chunk, SnapshotMemory

DECLARATIONS = """
type Pair struct { A int; B string }
type Node struct { Value int; Next *Node }
type Deep struct { P *Deep2 }
type Deep2 struct { Q *Pair }
type Mixed struct { A int; F float64; S string; G float32 }
type Holder struct { E error; X any }
type Wrapped struct { msg string; err error }
type Codes []uint16
"""


class _Declaration:
    package, since, before, text = "main", "1.18", "", DECLARATIONS


class Described:
    """Types at made-up addresses of descriptors."""

    def __init__(self, types: dict[int, Type]) -> None:
        self.types = types

    def at(self, address: int) -> Type:
        if address not in self.types:
            raise TypesDamaged(address)
        return self.types[address]


def version(text: str = "go1.27") -> GoVersion:
    found = GoVersion.parse(text)
    assert found is not None
    return found


def type_of(text: str) -> Type:
    """A type as Go writes it: `[]int`, `main.Pair`, `map[string]int`, `any`."""
    if text in ("any", "interface {}"):
        return Type("interface {}", Kind.INTERFACE, 16, empty=True)
    found = DeclaredTypes([_Declaration()], version(), _Universe()).lookup(text)
    assert found is not None, text
    return found


class _Universe:
    def lookup(self, name: str) -> Type | None:
        return type_of(name) if name == "any" else None


def named(name: str, underlying: Type) -> Type:
    return Type(name, underlying.kind, underlying.size, underlying.fields, underlying.elem, underlying.key)


def pointer_to(elem: Type) -> Type:
    return Type(f"*{elem.name}", Kind.POINTER, 8, elem=TypeRef(elem))


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *(value & (1 << 64) - 1 for value in values))


def context(limits: Limits = Limits(), go: str = "go1.27", **options: Any) -> Context:  # noqa: B008
    types: dict[int, Type] = options.pop("described", {})
    return Context(Described(types), version(go), limits=limits, **options)


def read(
    type: str | Type,
    root: bytes,
    memory: dict[int, bytes] | SnapshotMemory | None = None,
    limits: Limits = Limits(),  # noqa: B008
    holes: tuple[Hole, ...] = (),
    **options: Any,
) -> Value:
    """A value of a type from its own bytes and what stands at addresses."""
    if not isinstance(memory, SnapshotMemory):
        memory = SnapshotMemory(Chunk(address, held, len(held)) for address, held in (memory or {}).items())
    chosen = type_of(type) if isinstance(type, str) else type
    return decode(chosen, root, memory, context(limits, **options), holes)
