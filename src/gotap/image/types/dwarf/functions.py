"""Functions in DWARF: parameters, results and the places the compiler kept them in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from gotap.image.types.dwarf.constants import Attribute, Form, LocationEntry, Tag
from gotap.image.types.dwarf.debuginfo import DebugInfo, DwarfError, Entry, Unit
from gotap.image.types.dwarf.forms import uleb128
from gotap.image.types.gotypes import TypeRef

_DW_INL_INLINED = (1, 3)  # DW_AT_inline: inlined, whether or not it was declared so
_CALL_FRAME_CFA = b"\x9c"  # the frame base of every Go function
_BASE_SELECTION = (1 << 64) - 1
#: What the compiler calls a parameter without a name, counted from the receiver (Go ≥ 1.22).
_UNNAMED = re.compile(r"~p(\d+)")
_DICTIONARY = ".dict"
#: `main.(*List[go.shape.int]).Push`
_METHOD_OF_INSTANCE = re.compile(r"\]\)?\.[^.\]]+$")


class Location(Struct, frozen=True):
    """A DWARF expression that holds from address `low` up to before `high`; addresses are unrelocated."""

    low: int
    high: int
    expression: bytes


class Parameter(Struct, frozen=True):
    """A parameter or result. `locations` is empty for what the compiler optimised out, and for results."""

    name: str
    type: TypeRef
    is_result: bool
    locations: tuple[Location, ...] = ()


class Function(Struct, frozen=True):
    """A function that has code: addresses [low_pc, high_pc), unrelocated, and parameters, then results."""

    name: str
    low_pc: int
    high_pc: int
    is_wrapper: bool  # made up by the compiler to adjust a receiver or an ABI
    parameters: tuple[Parameter, ...]


class Subprogram(Struct, frozen=True):
    """A function: the entry that describes its signature and the one that has its code (the same if never inlined)."""

    signature: Entry
    code: Entry | None  # None: every call was inlined

    @property
    def is_wrapper(self) -> bool:
        """Whether the compiler made the function up to adjust a receiver or an ABI."""
        return self.code is not None and bool(self.code.number(Attribute.TRAMPOLINE))

    @property
    def low_pc(self) -> int:
        return self.code.number(Attribute.LOW_PC) if self.code is not None else 0

    @property
    def high_pc(self) -> int:
        if self.code is None:
            return 0
        high = self.code.number(Attribute.HIGH_PC)
        return high if self.code.forms.get(Attribute.HIGH_PC) == Form.ADDR else self.low_pc + high


def subprogram(debug: DebugInfo, entry: Entry) -> Subprogram | None:
    """The function that a DW_TAG_subprogram entry with a name describes; None if it is not truly one."""
    if Attribute.INLINE in entry.attributes:
        if entry.number(Attribute.INLINE) not in _DW_INL_INLINED:
            return None
        instances = debug.with_origin(entry, (Tag.SUBPROGRAM,))
        return Subprogram(entry, next(filter(_has_code, instances), None))
    return Subprogram(entry, entry) if _has_code(entry) else None


def _has_code(entry: Entry) -> bool:
    return entry.attributes.get(Attribute.FRAME_BASE) == _CALL_FRAME_CFA


def parameters(debug: DebugInfo, function: Subprogram, type_of: Callable[[Entry], TypeRef]) -> list[Parameter]:
    """The function's parameters, then its results, in the order of the signature.

    Of a function that can be inlined, what has no name is described with its code alone (Go 1.18–1.27): unnamed results
    and, from Go 1.22 on, unnamed parameters, `~p0` in the place that the number says. Before, those are not described.
    """
    places: dict[int, tuple[Location, ...]] = {}
    unnamed: list[Entry] = []
    if function.code is not None:
        for child in _formal_parameters(debug, function.code):
            origin = child.reference(Attribute.ABSTRACT_ORIGIN)
            places[origin or child.offset] = locations(debug, function, child)
            if origin is None and function.code is not function.signature:
                unnamed.append(child)
    described: dict[str, Entry] = {}
    for child in (*_formal_parameters(debug, function.signature), *unnamed):
        described.setdefault(child.name, child)  # results that deferred functions use come twice (seen in Go 1.20–1.26)
    found = [
        Parameter(
            child.name, type_of(child), bool(child.number(Attribute.VARIABLE_PARAMETER)), places.get(child.offset, ())
        )
        for child in described.values()
    ]
    results = [parameter for parameter in found if parameter.is_result]
    taken = [parameter for parameter in found if not parameter.is_result]
    return [*(_in_place(taken, function.signature.name) if unnamed else taken), *results]


def _in_place(found: Iterable[Parameter], function: str) -> list[Parameter]:
    """Unnamed parameters where their numbers put them; the dictionary, which came last, first or behind a receiver.

    cmd/compile/internal/noder/reader.go, shapeSig, Go 1.20–1.27; DWARF tells of dictionaries from 1.27 on.
    """
    ordered: list[Parameter] = []
    numbered: dict[int, Parameter] = {}
    for parameter in found:
        match = _UNNAMED.fullmatch(parameter.name)
        if match is not None:
            numbered[int(match[1])] = parameter
        elif parameter.name == _DICTIONARY:
            numbered[int(_METHOD_OF_INSTANCE.search(function) is not None)] = parameter
        else:
            ordered.append(parameter)
    for number, parameter in sorted(numbered.items()):
        ordered.insert(number, parameter)
    return ordered


def _formal_parameters(debug: DebugInfo, entry: Entry) -> Iterator[Entry]:
    return (child for child in debug.children(entry) if child.tag == Tag.FORMAL_PARAMETER)


def locations(debug: DebugInfo, function: Subprogram, entry: Entry) -> tuple[Location, ...]:
    """Where a variable of the function stands, by address range; empty where it is nowhere."""
    location = entry.attributes.get(Attribute.LOCATION)
    if location is None or location == b"":
        return ()
    if isinstance(location, bytes):
        return (Location(function.low_pc, function.high_pc, location),)
    read = _loclists if entry.unit.version >= 5 else _debug_loc
    try:
        places = list(read(debug, entry.unit, location))
    except (IndexError, ValueError) as error:
        raise DwarfError(f"the debug information's location list at {location:#x} is cut off") from error
    return tuple(place for place in places if place.expression and place.low < place.high)


def _debug_loc(debug: DebugInfo, unit: Unit, at: int) -> Iterator[Location]:
    """DWARF 4 §2.6.2: pairs of addresses relative to a base, the unit's low_pc unless the list selects another."""
    data = debug.section(".debug_loc")
    size, base = unit.address_size, unit.low_pc
    while at + 2 * size <= len(data):
        low = int.from_bytes(data[at : at + size], "little")
        high = int.from_bytes(data[at + size : at + 2 * size], "little")
        at += 2 * size
        if low == high == 0:
            return
        if low == _BASE_SELECTION:
            base = high
            continue
        length = int.from_bytes(data[at : at + 2], "little")
        at += 2
        yield Location(base + low, base + high, data[at : at + length])
        at += length


def _loclists(debug: DebugInfo, unit: Unit, at: int) -> Iterator[Location]:
    """DWARF 5 §7.7.3."""
    data = debug.section(".debug_loclists")
    base, size = unit.low_pc, unit.address_size

    def number() -> int:
        nonlocal at
        value, at = uleb128(data, at)
        return value

    def address() -> int:
        nonlocal at
        at += size
        return int.from_bytes(data[at - size : at], "little")

    while at < len(data):
        kind = data[at]
        at += 1
        if kind == LocationEntry.BASE_ADDRESSX:
            base = debug.address(unit, number())
            continue
        if kind == LocationEntry.BASE_ADDRESS:
            base = address()
            continue
        if kind == LocationEntry.STARTX_ENDX:
            low, high = debug.address(unit, number()), debug.address(unit, number())
        elif kind == LocationEntry.STARTX_LENGTH:
            low = debug.address(unit, number())
            high = low + number()
        elif kind == LocationEntry.OFFSET_PAIR:
            low, high = base + number(), base + number()
        elif kind == LocationEntry.DEFAULT_LOCATION:
            low, high = 0, _BASE_SELECTION
        elif kind == LocationEntry.START_END:
            low, high = address(), address()
        elif kind == LocationEntry.START_LENGTH:
            low = address()
            high = low + number()
        else:
            return  # END_OF_LIST, or nothing this version of DWARF knows
        length = number()
        yield Location(low, high, data[at : at + length])
        at += length
