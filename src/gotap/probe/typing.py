"""Types by full name: the binary's own sources, completed by what Go's specification fixes."""

from __future__ import annotations

from gotap.errors import GotapError
from gotap.image.types.gotypes import Kind, Type, TypeRef, TypeSource

WORD = 8


class UnknownType(GotapError):
    """A type that the binary does not describe: not linked in, or stripped and not reachable by reflection."""


def _basic(kind: Kind, **sizes: int) -> dict[str, Type]:
    return {name: Type(name, kind, size) for name, size in sizes.items()}


_BASIC: dict[str, Type] = {
    **_basic(Kind.BOOL, bool=1),
    **_basic(Kind.INT, int=8, int8=1, int16=2, int32=4, int64=8),
    **_basic(Kind.UINT, uint=8, uint8=1, uint16=2, uint32=4, uint64=8, uintptr=8),
    **_basic(Kind.FLOAT, float32=4, float64=8),
    **_basic(Kind.COMPLEX, complex64=8, complex128=16),
    **_basic(Kind.STRING, string=16),
    "unsafe.Pointer": Type("unsafe.Pointer", Kind.UNSAFE_POINTER, WORD),
    "interface {}": Type("interface {}", Kind.INTERFACE, 16, empty=True),
    "error": Type("error", Kind.INTERFACE, 16),
}
BOOL = _BASIC["bool"]
UINT = _BASIC["uint"]
INT = _BASIC["int"]
STRING = _BASIC["string"]
EMPTY_INTERFACE = _BASIC["interface {}"]


class Types:
    """Resolves full type names. Composite types are built from their parts, whether the source has an entry or not.

    `descriptors` answers which types have a run-time descriptor, and where.
    """

    def __init__(self, source: TypeSource, descriptors: TypeSource) -> None:
        self.source = source
        self.descriptors = descriptors
        self._known: dict[str, Type | None] = {}

    def resolve(self, name: str) -> Type:
        """The type called `name`; UnknownType when the binary does not describe it."""
        found = self.find(name)
        if found is None:
            raise UnknownType(
                f"the binary does not describe the type {name}",
                "it is not linked into this program, or the program was stripped of it",
            )
        return found

    def find(self, name: str) -> Type | None:
        if name not in self._known:
            self._known[name] = _BASIC.get(name) or self._composite(name) or self.source.lookup(name)
        return self._known[name]

    def address(self, name: str) -> int | None:
        """Unrelocated address of the type's run-time descriptor, or None when the binary holds none."""
        found = self.descriptors.lookup(name)
        return found.address or None if found is not None else None

    def _composite(self, name: str) -> Type | None:
        if name.startswith("*"):
            return Type(name, Kind.POINTER, WORD, elem=self._later(name[1:]))
        if name.startswith("[]"):
            return Type(name, Kind.SLICE, 3 * WORD, elem=self._later(name[2:]))
        if name.startswith("func("):
            return Type(name, Kind.FUNC, WORD)
        if name.startswith("chan "):
            return Type(name, Kind.CHAN, WORD, elem=self._later(name[5:]))
        if name.startswith("map["):
            end = _closing(name, 3)
            return Type(name, Kind.MAP, WORD, key=self._later(name[4:end]), elem=self._later(name[end + 1 :]))
        return None

    def _later(self, name: str) -> TypeRef:
        return TypeRef(lambda: self.resolve(name))


def _closing(text: str, opening: int) -> int:
    depth = 0
    for place in range(opening, len(text)):
        depth += {"[": 1, "]": -1}.get(text[place], 0)
        if depth == 0:
            return place
    return len(text)


def pointer_shaped(type: Type) -> bool:
    """Whether an interface holds such a value itself in its data word (Go's "direct interface" types)."""
    if type.kind in (Kind.POINTER, Kind.UNSAFE_POINTER, Kind.MAP, Kind.CHAN, Kind.FUNC):
        return True
    if type.kind is Kind.STRUCT and len(type.fields) == 1:
        return pointer_shaped(type.fields[0].type.get())
    if type.kind is Kind.ARRAY and type.count == 1 and type.elem is not None:
        return pointer_shaped(type.elem.get())
    return False


def pieces(type: Type, offset: int = 0) -> list[tuple[int, int, bool]]:
    """A value's primitive parts: (offset, size, signed), at most 8 bytes each, in memory order."""
    kind = type.kind
    if kind is Kind.STRUCT:
        return [part for field in type.fields for part in pieces(field.type.get(), offset + field.offset)]
    if kind is Kind.ARRAY:
        assert type.elem is not None
        elem = type.elem.get()
        return [part for index in range(type.count) for part in pieces(elem, offset + index * elem.size)]
    words = {Kind.STRING: 2, Kind.INTERFACE: 2, Kind.SLICE: 3, Kind.COMPLEX: 2}.get(kind, 1)
    size = type.size // words
    return [(offset + index * size, size, kind is Kind.INT) for index in range(words)]
