"""Which variables a function has where: its blocks, and the copies of other functions that were inlined into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct, field

from gotap.image.types.dwarf.constants import Attribute, Tag
from gotap.image.types.dwarf.debuginfo import DebugInfo, DwarfError, Entry
from gotap.image.types.dwarf.functions import Location, Subprogram, locations
from gotap.image.types.dwarf.ranges import Range, ranges_of
from gotap.image.types.gotypes import TypeRef

_SCOPES = (Tag.LEXICAL_BLOCK, Tag.INLINED_SUBROUTINE)
#: Scopes within each other, and ranges and places of one function; a tenth of it has been seen.
_MOST_SCOPES = 256
_MOST_PLACES = 1 << 18
_VARIABLES = (Tag.FORMAL_PARAMETER, Tag.VARIABLE)


class LocalVariable(Struct, frozen=True):
    """A parameter, result or local. `everywhere`: it has one place for all of its scope, not a list by address.

    `line`: where it is declared, 0 if that is not told. `closure_offset`: of a captured variable the place in the
    closure's object, else None.
    """

    name: str
    type: TypeRef
    locations: tuple[Location, ...]
    everywhere: bool
    is_parameter: bool
    is_result: bool
    line: int
    closure_offset: int | None = None


class Scope(Struct):
    """A function, a block of it, or an inlined copy: then `inlined` is the name of the function that was inlined."""

    ranges: tuple[Range, ...]
    inlined: str = ""
    variables: list[LocalVariable] = field(default_factory=list)
    inner: list[Scope] = field(default_factory=list)

    def holds(self, pc: int) -> bool:
        return any(low <= pc < high for low, high in self.ranges)

    def chain(self, pc: int) -> Iterator[Scope]:
        """This scope and those inside of it that hold the address, outermost first."""
        yield self
        for scope in self.inner:
            if scope.holds(pc):
                yield from scope.chain(pc)
                return


def read_scopes(debug: DebugInfo, function: Subprogram, type_of: Callable[[Entry], TypeRef]) -> Scope:
    """The scopes of a function that has code. Raises DwarfError."""
    assert function.code is not None
    root = Scope(((function.low_pc, function.high_pc),))
    path = [root]
    left = _MOST_PLACES
    for depth, entry in debug.descendants(function.code):
        del path[depth:]
        if entry.tag in _SCOPES:
            scope = Scope(ranges_of(debug, entry), _inlined_name(debug, entry))
            left -= len(scope.ranges)
            path[-1].inner.append(scope)
            path.append(scope)
        else:
            if entry.tag in _VARIABLES:
                variable = _variable(debug, function, entry, type_of)
                left -= len(variable.locations)
                path[-1].variables.append(variable)
            path.append(path[-1])
        if left < 0 or len(path) > _MOST_SCOPES:
            raise DwarfError(f"the debug information of the function at {function.low_pc:#x} is larger than any code's")
    return root


def optimised(debug: DebugInfo, function: Subprogram) -> bool:
    """Whether the compiler optimised the function: without `-gcflags=-N`. Source: Go's DW_AT_producer, Go 1.18–1.27."""
    assert function.code is not None
    unit = debug.entry(function.code.unit.first_entry)
    return " -N" not in unit.text(Attribute.PRODUCER)


def _inlined_name(debug: DebugInfo, entry: Entry) -> str:
    origin = entry.reference(Attribute.ABSTRACT_ORIGIN)
    return debug.entry(origin).name if entry.tag == Tag.INLINED_SUBROUTINE and origin is not None else ""


def _variable(
    debug: DebugInfo, function: Subprogram, entry: Entry, type_of: Callable[[Entry], TypeRef]
) -> LocalVariable:
    origin = entry.reference(Attribute.ABSTRACT_ORIGIN)
    described = debug.entry(origin) if origin is not None else entry
    offset = entry.number(Attribute.GO_CLOSURE_OFFSET)
    return LocalVariable(
        described.name,
        type_of(described),
        locations(debug, function, entry),
        isinstance(entry.attributes.get(Attribute.LOCATION), bytes),
        described.tag == Tag.FORMAL_PARAMETER,
        bool(described.number(Attribute.VARIABLE_PARAMETER)),
        described.number(Attribute.DECL_LINE),
        offset or None,
    )
