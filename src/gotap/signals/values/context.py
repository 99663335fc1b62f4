"""What values of one program are decoded by: its types, functions and version, and how much of a value is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from gotap.errors import GotapError
from gotap.image.facts.goversion import GoVersion
from gotap.image.functions.pclntab import Function
from gotap.image.types.gotypes import Kind, Type
from gotap.probe.functions.closures import Captured
from gotap.probe.functions.pattern import plain_name
from gotap.probe.script.limits import Limits
from gotap.probe.typing import pointer_shaped
from gotap.signals.values.memory import Memory, Nothing

if TYPE_CHECKING:
    from gotap.signals.values.reading import Decoder

#: Descriptors of types that stay known; a hostile program has no end of addresses.
_MOST_TYPES = 1 << 14


class DescribedTypes(Protocol):
    """Types by name and by descriptor: gotap.image.types.rtype.RuntimeTypes, and what completes it."""

    def at(self, address: int) -> Type: ...


class NamedTypes(Protocol):
    """gotap.probe.typing.Types."""

    def find(self, name: str) -> Type | None: ...


class FunctionTable(Protocol):
    """gotap.image.functions.pclntab.Pclntab."""

    def function_at(self, pc: int) -> Function | None: ...


class Context:
    """One program at one place in memory: addresses of the process are `bias` above the file's.

    `captures`: variables of the closure whose code begins at an unrelocated address, in their order; None: not known.
    `loaded`: start and end, unrelocated, of what the file itself loads: func values in there captured nothing.
    `lasting`: memory to look up what never changes once it is there, and what an event need not bring along: type
    descriptors, itabs, time zones.
    """

    def __init__(
        self,
        descriptors: DescribedTypes,
        version: GoVersion,
        *,
        types: NamedTypes | None = None,
        functions: FunctionTable | None = None,
        bias: int = 0,
        limits: Limits = Limits(),  # noqa: B008  # immutable
        captures: Callable[[int], Sequence[Captured] | None] = lambda entry: None,
        loaded: tuple[int, int] = (0, 0),
        lasting: Memory | None = None,
    ) -> None:
        self.version = version
        self.bias = bias
        self.limits = limits
        self.lasting: Memory = lasting or Nothing()
        self._descriptors = descriptors
        self._types = types
        self._functions = functions
        self._captures = captures
        self._loaded = loaded
        self._dynamic: dict[int, Type | str] = {}
        self._itabs: dict[int, int] = {}
        #: By the type object's identity; the object is kept with it, so that no other one gets its identity.
        self.decoders: dict[int, tuple[Type, Decoder]] = {}

    def keep_decoder(self, type: Type, decoder: Decoder) -> None:
        if len(self.decoders) >= _MOST_TYPES:
            self.decoders.clear()
        self.decoders[id(type)] = (type, decoder)

    def dynamic_type(self, descriptor: int) -> Type | str:
        """The type of a descriptor's address in the process, or why there is none."""
        found = self._dynamic.get(descriptor)
        if found is None:
            try:
                found = self._descriptors.at(descriptor - self.bias)
            except GotapError:
                found = f"type made at run time, at {descriptor:#x}"
            if len(self._dynamic) < _MOST_TYPES:
                self._dynamic[descriptor] = found
        return found

    def itab_type(self, itab: int, memory: Memory) -> int | None:
        """Address of the dynamic type's descriptor that an itab names: runtime/iface.go, the same in Go 1.18–1.27."""
        found = self._itabs.get(itab)
        if found is None:
            word = memory.prefix(itab + 8, 8)
            if len(word) < 8:
                word = self.lasting.prefix(itab + 8, 8)
            if len(word) < 8:
                return None
            found = int.from_bytes(word, "little")
            if len(self._itabs) < _MOST_TYPES:
                self._itabs[itab] = found
        return found

    def named_type(self, name: str) -> Type | None:
        try:
            return self._types.find(name) if self._types is not None else None
        except GotapError:
            return None

    def function_name(self, code: int) -> str | None:
        """The function whose code is at that address of the process."""
        if self._functions is None:
            return None
        try:
            found = self._functions.function_at(code - self.bias)
        except GotapError:
            return None
        return plain_name(found.name) if found is not None else None

    def captured(self, function: int, code: int) -> Sequence[Captured] | None:
        """What the func value at an address captured, whose code is at another; None: not known."""
        start, end = self._loaded
        if start <= function - self.bias < end:
            return ()
        try:
            return self._captures(code - self.bias)
        except GotapError:
            return None

    def stored_directly(self, type: Type) -> bool:
        """Whether an interface holds a value of the type itself in its data word.

        cmd/compile/internal/types, IsDirectIface: from Go 1.26 every type that is one pointer and nothing else; before,
        only structs of one field and arrays of one element that are such.
        """
        if not self.version.at_least(1, 26):
            return pointer_shaped(type)
        return type.size == 8 and _is_one_pointer(type)


_POINTERS = frozenset((Kind.POINTER, Kind.UNSAFE_POINTER, Kind.MAP, Kind.CHAN, Kind.FUNC))


def _is_one_pointer(type: Type) -> bool:
    if type.kind is Kind.STRUCT:
        return any(_is_one_pointer(field.type.get()) for field in type.fields)
    if type.kind is Kind.ARRAY and type.elem is not None:
        return type.count == 1 and _is_one_pointer(type.elem.get())
    return type.kind in _POINTERS
