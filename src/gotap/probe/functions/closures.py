"""What closures captured: the variables that their functions find in the func value that they are called by.

A func value is the code's address, then the captured variables, or pointers to those that are captured by reference.
The compiler tells their offsets from Go 1.23 on (DW_AT_go_closure_offset, cmd/internal/dwarf), of variables that it
kept as such: one that the function uses at once may be missing.
"""

from __future__ import annotations

from msgspec import Struct

from gotap.image.errors import ImageError
from gotap.image.types.dwarf import DwarfError
from gotap.image.types.dwarf.scopes import LocalVariable
from gotap.image.types.gotypes import Kind, Type
from gotap.probe.functions.signatures import Signatures

#: What the compiler calls the pointer to a variable that a closure shares.
_BY_REFERENCE = "&"


class Captured(Struct, frozen=True):
    """A captured variable, `offset` bytes into the func value; `by_reference`: a pointer to it stands there."""

    name: str
    type: Type
    offset: int
    by_reference: bool = False


class Closures:
    """Captured variables of one binary's functions, as far as its debug information describes them."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._known: dict[int, tuple[Captured, ...] | None] = {}

    def captured(self, entry: int) -> tuple[Captured, ...] | None:
        """By the unrelocated address of the function's code, in the order in which they lie; None: nothing is told."""
        if entry not in self._known:
            try:
                self._known[entry] = self._find(entry)
            except (DwarfError, ImageError):  # damaged: as if there were none
                self._known[entry] = None
        return self._known[entry]

    def _find(self, entry: int) -> tuple[Captured, ...] | None:
        function = self._signatures.image.pclntab.function_at(entry)
        dwarf = self._signatures.dwarf
        if function is None or dwarf is None or function.address != entry:
            return None
        subprogram = self._signatures.subprogram(function)
        if subprogram is None:
            return None
        found = {one.closure_offset: one for one in dwarf.scopes(subprogram).variables if one.closure_offset}
        return tuple(_captured(variable, offset) for offset, variable in sorted(found.items())) or None


def _captured(variable: LocalVariable, offset: int) -> Captured:
    type = variable.type.get()
    if variable.name.startswith(_BY_REFERENCE) and type.kind is Kind.POINTER and type.elem is not None:
        return Captured(variable.name.removeprefix(_BY_REFERENCE), type.elem.get(), offset, by_reference=True)
    return Captured(variable.name, type, offset)
