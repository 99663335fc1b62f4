"""Go types from DWARF: the linker's entries (cmd/link/internal/ld/dwarf.go, Go 1.18–1.27) as `types.gotypes`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property, partial

from msgspec.structs import replace

from gotap.image.containers.elf import Elf
from gotap.image.types.dwarf.constants import Attribute, Tag
from gotap.image.types.dwarf.debuginfo import DebugInfo, DwarfError, Entry
from gotap.image.types.dwarf.functions import Function, Parameter, Subprogram, parameters, subprogram
from gotap.image.types.dwarf.lines import statements
from gotap.image.types.dwarf.scopes import Scope, optimised, read_scopes
from gotap.image.types.dwarf.subprograms import Subprograms
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.image.types.kinds import REFLECT_KINDS
from gotap.image.types.linkname import escape_type_name, split_map

#: Kinds that each tag may carry, None for what the linker makes up: tells an entry from bytes that look like one.
_KINDS_OF_TAG: dict[int, frozenset[Kind | None]] = {
    Tag.BASE_TYPE: frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.FLOAT, Kind.COMPLEX}),
    Tag.ARRAY_TYPE: frozenset({Kind.ARRAY, None}),
    Tag.POINTER_TYPE: frozenset({Kind.POINTER, Kind.UNSAFE_POINTER, None}),
    Tag.STRUCTURE_TYPE: frozenset({Kind.STRUCT, Kind.STRING, Kind.SLICE, None}),
    Tag.SUBROUTINE_TYPE: frozenset({Kind.FUNC}),
    Tag.TYPEDEF: frozenset({Kind.MAP, Kind.CHAN, Kind.INTERFACE}),
}

#: What the linker calls a bucket's fields → what the compiler calls them (reflectdata/map_noswiss.go).
_BUCKET_FIELDS = {"tophash": "topbits", "values": "elems"}
_MAP_INTERNAL = re.compile(r"(?:noalg\.)?map\.(bucket|group)(\[.*)")

_DW_OP_ADDR = 0x03
_POINTER_SIZE = 8
_MAX_TYPEDEFS = 8  # a chain of typedefs is two long at most


class DwarfTypes:
    """Types, parameters and variables by name; every answer is read when asked for and kept.

    `types` is moduledata.types, from which DWARF counts the addresses of type descriptors. Without it the symbol
    runtime.types is used; where there is none, `Type.address` is 0.
    """

    def __init__(self, elf: Elf, types: int | None = None) -> None:
        self._elf = elf
        self._debug = DebugInfo(elf)
        self._types = types
        self._by_offset: dict[int, Type] = {}
        self._by_name: dict[str, Type | None] = {}
        self._statements: dict[int, dict[int, int]] = {}

    def lookup(self, name: str) -> Type | None:
        """The type of that name, or None. Import paths may be escaped or not. Raises DwarfError on damaged data.

        `map.bucket[K]V` and `map.group[K]V` name what the runtime keeps a map's entries in.
        """
        if name not in self._by_name:
            internal = _MAP_INTERNAL.fullmatch(name)
            self._by_name[name] = self._map_internal(internal[1], internal[2]) if internal else self._find(name)
        return self._by_name[name]

    def function(self, name: str) -> list[Parameter] | None:
        """Parameters, then results, of the function of that linker name (`net/http.(*conn).serve`); None if unknown.

        Both in the order of the signature; the receiver is the first parameter. Where the linker's name stands for a
        method and for a wrapper of it, the method is meant. Parameters without a name are left out by Go before 1.22,
        the dictionary that a function of type parameters takes (`.dict`) by Go before 1.27 and sometimes later.
        """
        candidates = (subprogram(self._debug, entry) for entry in self._debug.named(name, (Tag.SUBPROGRAM,)))
        functions = [function for function in candidates if function is not None]
        functions.sort(key=lambda function: function.is_wrapper)
        return parameters(self._debug, functions[0], self._reference) if functions else None

    def subprogram(self, package: str, name: str, address: int) -> Subprogram | None:
        """The function of that full name whose code begins at that unrelocated address; see `Subprograms.find`."""
        return self._subprograms.find(package, name, address)

    def parameters(self, function: Subprogram) -> list[Parameter]:
        """Parameters, then results, in the order of the signature."""
        return parameters(self._debug, function, self._reference)

    def scopes(self, function: Subprogram) -> Scope:
        """The variables of a function that has code, by scope."""
        return read_scopes(self._debug, function, self._reference)

    def optimised(self, function: Subprogram) -> bool:
        """Whether the compiler optimised the function."""
        return optimised(self._debug, function)

    def statements(self, function: Subprogram) -> dict[int, int]:
        """Address → line of every statement's beginning in the unit of a function that has code."""
        assert function.code is not None
        unit = function.code.unit
        if unit.offset not in self._statements:
            self._statements[unit.offset] = statements(self._debug, unit)
        return self._statements[unit.offset]

    def inlined_parameters(self, name: str) -> list[Parameter] | None:
        """Parameters, then results, of a function that can be inlined, whether it has code of its own or not."""
        entry = self._subprograms.inlined(name)
        return parameters(self._debug, Subprogram(entry, None), self._reference) if entry is not None else None

    def functions(self) -> Iterator[Function]:
        """Every function that has code, in file order; reads all debug information."""
        for unit in self._debug.units:
            for entry in self._debug.children(self._debug.entry(unit.first_entry)):
                if entry.tag != Tag.SUBPROGRAM or Attribute.LOW_PC not in entry.attributes:
                    continue
                origin = entry.reference(Attribute.ABSTRACT_ORIGIN)
                function = Subprogram(self._debug.entry(origin) if origin is not None else entry, entry)
                yield Function(
                    function.signature.name,
                    function.low_pc,
                    function.high_pc,
                    function.is_wrapper,
                    tuple(parameters(self._debug, function, self._reference)),
                )

    def variable_address(self, name: str) -> int | None:
        """The unrelocated address of a package's variable (`net/http.ErrAbortHandler`), or None."""
        found = self.variable(name)
        return found[0] if found is not None else None

    def variable(self, name: str) -> tuple[int, TypeRef] | None:
        """The unrelocated address and the type of a package's variable, or None."""
        for entry in self._debug.named(name, (Tag.VARIABLE,)):
            location = entry.attributes.get(Attribute.LOCATION)
            if isinstance(location, bytes) and len(location) == 9 and location[0] == _DW_OP_ADDR:
                return int.from_bytes(location[1:], "little"), self._reference(entry)
        return None

    @cached_property
    def _subprograms(self) -> Subprograms:
        return Subprograms(self._debug)

    # -- names to entries ---------------------------------------------------------------------------------------

    def _find(self, name: str) -> Type | None:
        escaped = escape_type_name(name)
        spellings = (name,) if escaped == name else (name, escaped)
        found = (entry for spelling in spellings for entry in self._debug.named(spelling, _KINDS_OF_TAG))
        entry = next(filter(self._is_type, found), None)
        return self._type_at(entry.offset) if entry is not None else None

    def _map_internal(self, structure: str, key_and_elem: str) -> Type | None:
        """A map's bucket or group. Up to Go 1.23 the linker describes `bucket<K,V>`, with names of its own."""
        name = f"map.{structure}{key_and_elem}"
        found = self._find("noalg." + name) or self._find(name)
        if found is None and structure == "bucket":
            key, elem = split_map(key_and_elem)
            found = self._find(f"bucket<{key},{elem}>")
        if found is None:
            return None
        fields = tuple(replace(field, name=_BUCKET_FIELDS.get(field.name, field.name)) for field in found.fields)
        return replace(found, name=name, fields=fields)

    # -- entries to types ---------------------------------------------------------------------------------------

    def _is_type(self, entry: Entry) -> bool:
        """Whether an entry found by its name truly is a type, with content of its own: no alias made by the linker."""
        kind = _kind(entry)
        if kind not in _KINDS_OF_TAG[entry.tag]:
            return False
        if entry.tag == Tag.STRUCTURE_TYPE and kind is None and not entry.has_children:
            return False
        refers = entry.reference(Attribute.TYPE) or entry.reference(Attribute.GO_ELEM)
        return refers is None or self._debug.unit_at(refers) is not None

    def _type_at(self, offset: int) -> Type:
        type_ = self._by_offset.get(offset)
        if type_ is None:
            entry = self._resolve_typedefs(offset)
            type_ = self._by_offset.get(entry.offset) or self._make(entry)
            self._by_offset[offset] = self._by_offset[entry.offset] = type_
        return type_

    def _resolve_typedefs(self, offset: int) -> Entry:
        """The entry with content: Go's named types are typedefs of an entry of the same name."""
        for _ in range(_MAX_TYPEDEFS):
            entry = self._debug.entry(offset)
            if entry.tag != Tag.TYPEDEF or _kind(entry) is not None:
                return entry
            target = entry.reference(Attribute.TYPE)
            if target is None:
                break
            offset = target
        raise DwarfError(f"the debug information's type at {offset:#x} is an alias of nothing")

    def _make(self, entry: Entry) -> Type:
        name, kind, address = entry.name, _kind(entry), self._address(entry)
        size = entry.number(Attribute.BYTE_SIZE)
        if entry.tag == Tag.BASE_TYPE and kind is not None:
            return Type(name, kind, size, address=address)
        if entry.tag == Tag.TYPEDEF:
            return self._make_from_typedef(entry)
        if entry.tag == Tag.POINTER_TYPE:
            if Attribute.TYPE not in entry.attributes:
                return Type(name, Kind.UNSAFE_POINTER, _POINTER_SIZE, address=address)
            return Type(name, Kind.POINTER, _POINTER_SIZE, elem=self._reference(entry), address=address)
        if entry.tag == Tag.SUBROUTINE_TYPE:
            return Type(name, Kind.FUNC, size or _POINTER_SIZE, address=address)
        if entry.tag == Tag.ARRAY_TYPE:
            count = sum(child.number(Attribute.COUNT) for child in self._debug.children(entry))
            return Type(name, Kind.ARRAY, size, elem=self._reference(entry), count=count, address=address)
        if entry.tag == Tag.STRUCTURE_TYPE and kind is Kind.STRING:
            return Type(name, Kind.STRING, size, address=address)
        if entry.tag == Tag.STRUCTURE_TYPE and kind is Kind.SLICE:
            return Type(name, Kind.SLICE, size, elem=self._reference(entry, Attribute.GO_ELEM), address=address)
        if entry.tag in (Tag.STRUCTURE_TYPE, Tag.UNSPECIFIED_TYPE):
            return Type(name, Kind.STRUCT, size, fields=tuple(self._fields(entry)), address=address)
        raise DwarfError(f"the debug information's entry at {entry.offset:#x} is no type")

    def _make_from_typedef(self, entry: Entry) -> Type:
        """Maps, channels and interfaces: typedefs of the runtime's structures, with a kind."""
        name, kind, address = entry.name, _kind(entry), self._address(entry)
        if kind is Kind.INTERFACE:
            target = entry.reference(Attribute.TYPE)
            empty = target is not None and self._resolve_typedefs(target).name == "runtime.eface"
            return Type(name, kind, 2 * _POINTER_SIZE, empty=empty, address=address)
        elem = self._reference(entry, Attribute.GO_ELEM)
        if kind is Kind.MAP:
            key = self._reference(entry, Attribute.GO_KEY)
            return Type(name, kind, _POINTER_SIZE, elem=elem, key=key, address=address)
        return Type(name, Kind.CHAN, _POINTER_SIZE, elem=elem, address=address)

    def _fields(self, entry: Entry) -> Iterator[Field]:
        for child in self._debug.children(entry):
            if child.tag == Tag.MEMBER:
                offset = child.number(Attribute.DATA_MEMBER_LOCATION)
                embedded = bool(child.number(Attribute.GO_EMBEDDED_FIELD))
                yield Field(child.name, offset, self._reference(child), embedded)

    def _reference(self, entry: Entry, attribute: int = Attribute.TYPE) -> TypeRef:
        target = entry.reference(attribute)
        if target is None:
            raise DwarfError(f"the debug information's entry {entry.name} at {entry.offset:#x} has no type")
        return TypeRef(partial(self._type_at, target))

    def _address(self, entry: Entry) -> int:
        """The descriptor's address: DWARF has its offset from moduledata.types, or the address (uintptr, Go ≤ 1.25)."""
        value = entry.number(Attribute.GO_RUNTIME_TYPE)
        base = self._types_base
        if value == 0 or base == 0:
            return 0
        return value if value >= base else base + value

    @cached_property
    def _types_base(self) -> int:
        return self._types if self._types is not None else self._elf.symbols().get("runtime.types", (0, 0))[0]


def _kind(entry: Entry) -> Kind | None:
    number = entry.number(Attribute.GO_KIND)
    return REFLECT_KINDS[number] if number < len(REFLECT_KINDS) else None
