"""What a compiled tests/programs/typezoo says about its own types: the oracle of the readers of types."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gobuild import build
from gotap.image.containers.elf import Elf
from gotap.image.types.gotypes import Kind, Type

#: reflect.Kind's text → Kind.
_KINDS = {
    "ptr": Kind.POINTER,
    "unsafe.Pointer": Kind.UNSAFE_POINTER,
    **{f"int{bits}": Kind.INT for bits in ("", 8, 16, 32, 64)},
    **{f"uint{bits}": Kind.UINT for bits in ("", 8, 16, 32, 64, "ptr")},
    **{f"float{bits}": Kind.FLOAT for bits in (32, 64)},
    **{f"complex{bits}": Kind.COMPLEX for bits in (64, 128)},
    **{kind: Kind(kind) for kind in ("bool", "string", "struct", "array", "slice", "map", "interface", "func", "chan")},
}


@dataclass(frozen=True)
class Zoo:
    """An executable and the types in it as `reflect` describes them; `address` is unrelocated."""

    path: Path
    types: tuple[Described, ...]

    def named(self, name: str) -> Described:
        return next(described for described in self.types if described.name == name)


@dataclass(frozen=True)
class Described:
    name: str
    kind: Kind
    size: int
    align: int
    address: int
    elem: str
    key: str
    count: int
    methods: int
    fields: tuple[tuple[str, int, str, bool], ...]


@cache
def typezoo(go: str, mode: str = "plain") -> Zoo:
    """The program built by that Go in that mode, run once."""
    path = build("typezoo", go, mode=mode)
    told = json.loads(subprocess.run([path], check=True, capture_output=True, timeout=60).stdout)
    bias = told["LoadAddress"] - Elf.open(path).load_base()
    return Zoo(path, tuple(_described(item, bias) for item in told["Types"]))


def _described(item: dict, bias: int) -> Described:
    fields = tuple((f["Name"], f["Offset"], f["Type"], f["Embedded"]) for f in item.get("Fields", ()))
    return Described(
        item["Name"],
        _KINDS[item["Kind"]],
        item["Size"],
        item["Align"],
        item["Address"] - bias,
        item.get("Elem", ""),
        item.get("Key", ""),
        item.get("Len", 0),
        item.get("Methods", 0),
        fields,
    )


def seen_as(type_: Type) -> tuple:
    """A type as a tuple that `expected` can be compared with."""
    fields = tuple((f.name, f.offset, f.type.get().name, f.embedded) for f in type_.fields)
    elem = type_.elem.get().name if type_.elem is not None else ""
    key = type_.key.get().name if type_.key is not None else ""
    return (type_.name, type_.kind, type_.size, elem, key, type_.count, type_.empty, fields)


def expected(described: Described) -> tuple:
    empty = described.kind is Kind.INTERFACE and described.methods == 0
    return (
        described.name,
        described.kind,
        described.size,
        described.elem,
        described.key,
        described.count,
        empty,
        described.fields,
    )
