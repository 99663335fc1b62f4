"""What a function takes and gives, and where that stands at a site."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gotap.image import abi
from gotap.image.code import Location
from gotap.image.types.gotypes import Type

#: The hidden argument of a generic function's body: the address of its instance's dictionary.
DICTIONARY = ".dict"

#: Where a signature was found.
SignatureSource = Literal["DWARF", "sig", "runtime types", "catalogue", "none"]


class Argument(Struct, frozen=True):
    """A parameter or a result, under the name that users give: `~recv`, `~a0`, `~r0` where the source has none.

    `type` None: unknown, for this `reason`; `layout` then is a type of the same size and parts, if that is known.
    `hidden`: nothing that the source has: the dictionary.
    """

    name: str
    type: Type | None
    reason: str = ""
    hidden: bool = False
    layout: Type | None = None


class FunctionSignature(Struct, frozen=True):
    """`parameters`: the receiver first, a hidden dictionary where it is passed. `source` "none": nothing is known.

    `reason`: why nothing, or not everything, is known, with what to do about it. `abi0`: assembly, everything is
    passed on the stack. `variadic`: the last parameter is `...T`, as far as that is known.
    """

    parameters: tuple[Argument, ...] = ()
    results: tuple[Argument, ...] = ()
    source: SignatureSource = "none"
    reason: str = ""
    abi0: bool = False
    variadic: bool = False
    has_receiver: bool = False

    @property
    def known(self) -> bool:
        return self.source != "none"

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The parameters that the source has."""
        return tuple(one for one in self.parameters if not one.hidden)

    @property
    def dictionary(self) -> int | None:
        """Which of the parameters is the dictionary."""
        return next((i for i, one in enumerate(self.parameters) if one.hidden), None)

    def assignment(self) -> abi.Assignment | None:
        """Where everything stands by the calling convention; None where a type is unknown."""
        types, results = (
            [one for one in ((each.type or each.layout) for each in group) if one is not None]
            for group in (self.parameters, self.results)
        )
        if not self.known or len(types) < len(self.parameters) or len(results) < len(self.results):
            return None
        return (abi.assign_stack if self.abi0 else abi.assign)(types, results)

    def text(self, name: str) -> str:
        """The signature as Go writes it: `main.f(name string, n int) (string, error)`."""
        if not self.known:
            return f"{name}(?)"
        own = self.arguments[1:] if self.has_receiver else self.arguments
        receiver = f"  receiver {_declared(self.arguments[0])}" if self.has_receiver else ""
        taken = ", ".join(_declared(one, self.variadic and one is own[-1]) for one in own)
        return f"{name}({taken}){_results(self.results)}{receiver}"


class Part(Struct, frozen=True):
    """Where `size` bytes at `offset` of a value stand at a site; `location` None: not to be read, for this `reason`."""

    offset: int
    size: int
    location: Location | None
    reason: str = ""


class Variable(Struct, frozen=True):
    """A value at a site. `parts`: in the order of their offsets, none for a value without bytes.

    `type` None or `reason` set: it is not available, or not wholly, and why. `by_reference`: what stands there is the
    address of the value (a variable that was moved to the heap, or captured by reference); `type` is the value's.
    """

    name: str
    type: Type | None
    parts: tuple[Part, ...] = ()
    reason: str = ""
    by_reference: bool = False

    @property
    def available(self) -> bool:
        """Whether every byte can be read."""
        return self.type is not None and not self.reason and all(part.location is not None for part in self.parts)

    @property
    def memory(self) -> Location | None:
        """The one place where the whole value lies, when it does not lie in registers or in several places."""
        if len(self.parts) == 1 and self.type is not None and self.parts[0].size == self.type.size:
            return self.parts[0].location
        return None


def _declared(one: Argument, variadic: bool = False) -> str:
    type_ = one.type.name if one.type is not None else "?"
    if variadic and type_.startswith("[]"):
        type_ = f"...{type_[2:]}"
    return f"{one.name} {type_}"


def _results(results: tuple[Argument, ...]) -> str:
    if not results:
        return ""
    unnamed = all(one.name.startswith("~r") for one in results)
    texts = [(one.type.name if one.type is not None else "?") if unnamed else _declared(one) for one in results]
    return f" {texts[0]}" if len(texts) == 1 and unnamed else f" ({', '.join(texts)})"
