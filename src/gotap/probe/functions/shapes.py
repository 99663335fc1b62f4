"""Types of generic functions' bodies made concrete: `[]go.shape.int` is `[]int` where only one instance has that body.

Where several have it, the shapes stay, but for pointers: all pointer types have the shape `go.shape.*uint8`
(cmd/compile/internal/noder/reader.go, shapify), and what such a pointer leads to is not a byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from gotap.image.abi import flatten
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.probe.functions.instances import Instance, may_serve, split_arguments
from gotap.probe.typing import Types

SHAPE = "go.shape."
_POINTER = re.compile(r"go\.shape\.\*uint8(?:_\d+)?")


class Shapes:
    """The types of one body. `shapes`: its type arguments, `instances`: those of its function."""

    def __init__(self, types: Types, shapes: str, instances: Sequence[Instance]) -> None:
        self._types = types
        serving = [one.arguments for one in instances if may_serve(shapes, one.arguments)]
        self._arguments = _arguments(shapes, serving[0]) if len(serving) == 1 else {}
        self._known: dict[str, Type] = {}

    def concrete(self, type_: Type) -> Type:
        """A type without shapes, as far as that is known; its layout is the same."""
        if SHAPE not in type_.name:
            return type_
        if type_.name not in self._known:
            self._known[type_.name] = self._make(type_)
        return self._known[type_.name]

    def _make(self, type_: Type) -> Type:
        name = self._named(type_.name)
        if SHAPE not in name:
            found = self._types.find(name)
            if found is not None and (found.size, flatten(found)) == (type_.size, flatten(type_)):
                return found
        if _POINTER.fullmatch(type_.name):
            return Type(name, Kind.UNSAFE_POINTER, type_.size)
        return replace(
            type_,
            name=name,
            fields=tuple(Field(one.name, one.offset, self._later(one.type), one.embedded) for one in type_.fields),
            elem=self._later(type_.elem) if type_.elem is not None else None,
            key=self._later(type_.key) if type_.key is not None else None,
            address=0,
        )

    def _later(self, reference: TypeRef) -> TypeRef:
        return TypeRef(lambda: self.concrete(reference.get()))

    def _named(self, name: str) -> str:
        for shape, argument in self._arguments.items():
            name = re.sub(re.escape(shape) + r"(?!\w)", argument.replace("\\", r"\\"), name)
        return name


def _arguments(shapes: str, arguments: str) -> Mapping[str, str]:
    """Shape → type argument, longest first; without those that stand for two different ones."""
    found: dict[str, str] = {}
    doubtful = set()
    for shape, argument in zip(split_arguments(shapes), split_arguments(arguments), strict=False):
        if found.setdefault(shape, argument) != argument:
            doubtful.add(shape)
    return {shape: found[shape] for shape in sorted(found, key=len, reverse=True) if shape not in doubtful}
