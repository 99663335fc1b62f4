"""Instances of generic functions: one body serves all type arguments of one shape, a dictionary tells them apart.

The dictionary is a hidden argument, in the linker's symbol table under the name of the instance:
`main..dict.Map[int,string]`; of methods `main..dict.List[string]` (Go ≥ 1.20) or `main..dict.(*List[string]).Push`
(cmd/compile/internal/noder/reader.go, stencil.go before 1.20). A stripped binary does not name its dictionaries.
"""

from __future__ import annotations

import re
from functools import cached_property

from msgspec import Struct

from gotap.image.image import Image
from gotap.probe.functions.pattern import plain_name, without_arguments
from gotap.probe.signature import UNIVERSE, package_of

_DICTIONARY = "..dict."
_SHAPE = "go.shape."
#: Which type parameter a shape is for, in names of Go 1.18 and 1.19.
_NUMBER = re.compile(r"_\d+$")


class Instance(Struct, frozen=True):
    """`name`: as users write it, `main.Map[int,string]`. `dictionary`: unrelocated address, the hidden argument."""

    name: str
    arguments: str
    dictionary: int


class Instances:
    """The dictionaries of one binary."""

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def known(self) -> bool:
        """Whether dictionaries have names here: the binary is not stripped."""
        return not self._image.is_stripped

    @cached_property
    def _by_source(self) -> dict[str, list[tuple[str, int]]]:
        """What a dictionary belongs to, `main.Map[...]` → (type arguments, address)."""
        found: dict[str, list[tuple[str, int]]] = {}
        for symbol, (address, _) in self._image.elf.symbols().items():
            if _DICTIONARY in symbol and "[" in symbol:
                name = symbol.replace(_DICTIONARY, ".", 1)
                found.setdefault(without_arguments(name), []).append((type_arguments(name), address))
        return found

    def of(self, name: str) -> tuple[Instance, ...]:
        """The instances of a function, given as in the table but with `[...]`; none when they cannot be known."""
        owners = [name]
        package = package_of(name)
        receiver, _, method = name[len(package) + 1 :].lstrip("(*").rpartition(".")
        if method and receiver:
            owners.append(f"{package}.{receiver.rstrip(')')}")
        return tuple(
            Instance(plain_name(name.replace("[...]", f"[{arguments}]", 1)), plain_name(arguments), address)
            for owner in owners
            for arguments, address in self._by_source.get(owner, ())
        )


def type_arguments(name: str) -> str:
    """What stands between the first bracket of a name and the one that closes it."""
    start, depth = name.find("["), 0
    for at in range(max(start, 0), len(name)):
        depth += (name[at] == "[") - (name[at] == "]")
        if depth == 0:
            return name[start + 1 : at] if start >= 0 else ""
    return ""


def same_arguments(written: str, instance: Instance) -> bool:
    """Whether a user means this instance: blanks do not matter, nor the qualifier of the function's own package."""
    package = plain_name(package_of(instance.name)) + "."
    one, other = (plain_name(text).replace(" ", "").replace(package, "") for text in (written, instance.arguments))
    return one == other or _aliased(one) == other


def may_serve(shapes: str, arguments: str) -> bool:
    """Whether a body for these shapes (`go.shape.int,go.shape.*uint8`) may serve an instance with these arguments.

    True where that cannot be told: up to Go 1.20 names do not hold the shapes, and `type id int` has the shape of int.
    """
    own, wanted = split_arguments(shapes), split_arguments(arguments)
    if len(own) != len(wanted):
        return True
    return all(_fits(shape, one) for shape, one in zip(own, wanted, strict=True))


def split_arguments(text: str) -> list[str]:
    """`int,map[string]bool` → its types."""
    parts, depth, begin = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            parts.append(text[begin:at].strip())
            begin = at + 1
    return [*parts, text[begin:].strip()]


def _fits(shape: str, argument: str) -> bool:
    if not shape.startswith(_SHAPE):
        return True
    shape = _NUMBER.sub("", shape)
    if argument.startswith(_SHAPE):
        return shape == argument
    if argument.startswith("*"):
        return shape == _SHAPE + "*uint8"  # all pointers have one shape (reader.go, shapify)
    argument = _aliased(argument)
    return shape == _SHAPE + argument if argument in UNIVERSE and argument != "error" else True


def _aliased(text: str) -> str:
    names = {"byte": "uint8", "rune": "int32", "any": "interface {}"}
    return ",".join(names.get(part, part) for part in split_arguments(text))
