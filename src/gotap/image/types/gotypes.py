"""The model of Go types that DWARF, runtime type metadata and declared structs all give.

Names are written as Go's linker writes them in DWARF: full import path, `net/http.Request`, `*net/http.Request`,
`map[string][]string`, `struct {}`; the universe's types without a path. Sizes and offsets are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from msgspec import Struct, field


class Kind(Enum):
    BOOL = "bool"
    INT = "int"  # signed, any size
    UINT = "uint"  # unsigned, any size, uintptr too
    FLOAT = "float"
    COMPLEX = "complex"
    STRING = "string"
    POINTER = "pointer"  # elem
    UNSAFE_POINTER = "unsafe.Pointer"
    STRUCT = "struct"  # fields
    ARRAY = "array"  # elem, count
    SLICE = "slice"  # elem
    MAP = "map"  # key, elem
    INTERFACE = "interface"  # `empty` tells eface (type word) from iface (itab word)
    FUNC = "func"
    CHAN = "chan"  # elem


class Field(Struct, frozen=True):
    """A struct field; `embedded` fields are searched through by selectors."""

    name: str
    offset: int
    type: TypeRef
    embedded: bool = False


class Type(Struct, frozen=True):
    """One Go type. `name` is its full name as in DWARF; for an unnamed type, its text (`[]uint8`).

    A named type and its underlying structure are one object: `name="net/http.Header"`, `kind=MAP`.
    `address` is the unrelocated virtual address of its runtime type descriptor (rtype) where known, else 0.
    """

    name: str
    kind: Kind
    size: int
    fields: tuple[Field, ...] = ()
    elem: TypeRef | None = None
    key: TypeRef | None = None
    count: int = 0
    empty: bool = False
    address: int = 0


class TypeRef:
    """A type that is read when it is first asked for: type graphs are cyclic and large."""

    __slots__ = ("_load", "_type")

    def __init__(self, load: Callable[[], Type] | Type) -> None:
        self._load = None if isinstance(load, Type) else load
        self._type = load if isinstance(load, Type) else None

    def get(self) -> Type:
        if self._type is None:
            assert self._load is not None
            self._type = self._load()
            self._load = None
        return self._type

    def __repr__(self) -> str:
        return f"TypeRef({self._type.name})" if self._type is not None else "TypeRef(…)"


class TypeSource(Protocol):
    """Where types come from: DWARF, rtype metadata, declarations."""

    def lookup(self, name: str) -> Type | None:
        """The type of that full name (`net/http.Request`, `*net/http.response`), or None when this source has none."""
        ...


class LayeredTypes(Struct):
    """Several sources, best first; a name is answered by the first source that has it."""

    sources: list[TypeSource] = field(default_factory=list)

    def lookup(self, name: str) -> Type | None:
        for source in self.sources:
            if (found := source.lookup(name)) is not None:
                return found
        return None
