"""Go types from the runtime's own metadata, which no stripping removes: Go 1.18–1.27.

A binary has the types whose values the program allocates, or puts into interfaces, and all types those are made of:
of stripped net/http servers even runtime.g and runtime._panic (Go 1.18–1.27). Names are made up from import paths, as
the linker does; a type declared inside a function goes without the number (`·1`) that DWARF gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property, partial

from gotap.image.containers.elf import Elf
from gotap.image.facts.goversion import GoVersion
from gotap.image.types.descriptor import Descriptor, Descriptors, StructField, TypesDamaged
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.image.types.linkname import escape_import_path, escape_type_name
from gotap.image.types.typeindex import TypeIndex, TypesModuleIndex

_MAP_INTERNAL = re.compile(r"(?:noalg\.)?map\.(bucket|group)(\[.*)")

#: Characters of a full name; those of instances of generic types have had some thousands.
_LONGEST_NAME = 1 << 16


class RuntimeTypes:
    """Types by full name or by the address of their descriptor; every answer is read when asked for and kept."""

    def __init__(self, elf: Elf, moduledata: TypesModuleIndex, version: GoVersion) -> None:
        self._elf = elf
        self._module = moduledata
        self._descriptors = Descriptors(elf, moduledata, version)
        self._headers: dict[int, Descriptor] = {}
        self._names: dict[int, str] = {}
        self._types: dict[int, Type] = {}
        self._by_name: dict[str, Type | None] = {}

    def lookup(self, name: str) -> Type | None:
        """The type of that full name, or None. Import paths may be escaped or not. Raises TypesDamaged.

        `map.bucket[K]V` and `map.group[K]V` name what the runtime keeps a map's entries in.
        """
        if name not in self._by_name:
            self._by_name[name] = self._find(name)
        return self._by_name[name]

    def at(self, address: int) -> Type:
        """The type whose descriptor is at that unrelocated address. Raises TypesDamaged if there is none."""
        type_ = self._types.get(address)
        if type_ is None:
            type_ = self._types[address] = self._make(self._header(address))
        return type_

    def name_at(self, address: int) -> str:
        """The full name of the type whose descriptor is at that unrelocated address. Raises TypesDamaged."""
        name = self._names.get(address)
        if name is None:
            header = self._header(address)
            self._names[address] = header.text  # should damaged data make a type part of itself
            try:
                name = self._make_name(header)
            except (TypesDamaged, RecursionError):
                del self._names[address]
                raise TypesDamaged(address) from None
            self._names[address] = name
        return name

    # -- finding ------------------------------------------------------------------------------------------------

    @property
    def descriptors(self) -> Descriptors:
        return self._descriptors

    @cached_property
    def index(self) -> TypeIndex:
        """Not read for names of known addresses, which is all that a watched process's records ask for."""
        return TypeIndex(self._elf, self._module, self._descriptors)

    def _find(self, name: str) -> Type | None:
        if internal := _MAP_INTERNAL.fullmatch(name):
            return self._map_internal(internal[1], internal[2])
        name = escape_type_name(name)
        found = (address for address in self.index.candidates(name) if self.name_at(address) == name)
        address = next(found, None)
        return self.at(address) if address is not None else None

    def _map_internal(self, structure: str, key_and_elem: str) -> Type | None:
        map_type = self.lookup("map" + key_and_elem)
        if map_type is None or map_type.kind is not Kind.MAP:
            return None
        address = self._descriptors.map_group(self._header(map_type.address))
        if not self._header(address).text.startswith(f"map.{structure}["):
            return None  # asked for a bucket where groups are, or the other way round
        self._names[address] = f"map.{structure}{key_and_elem}"
        return self.at(address)

    # -- descriptors to types -----------------------------------------------------------------------------------

    def _header(self, address: int) -> Descriptor:
        header = self._headers.get(address)
        if header is None:
            header = self._headers[address] = self._descriptors.header(address)
        return header

    def _make(self, descriptor: Descriptor) -> Type:
        read, kind = self._descriptors, descriptor.kind
        name = self.name_at(descriptor.address)
        elem = key = None
        count = 0
        fields: tuple[Field, ...] = ()
        if kind in (Kind.POINTER, Kind.SLICE, Kind.ARRAY, Kind.CHAN, Kind.MAP):
            elem = self._reference(read.elem(descriptor))
        if kind is Kind.MAP:
            key = self._reference(read.key(descriptor))
        elif kind is Kind.ARRAY:
            count = read.length(descriptor)
        elif kind is Kind.STRUCT:
            fields = tuple(
                Field(field.name, field.offset, self._reference(field.type), field.embedded)
                for field in read.struct_fields(descriptor)
            )
        empty = kind is Kind.INTERFACE and read.method_count(descriptor) == 0
        return Type(name, kind, descriptor.size, fields, elem, key, count, empty, descriptor.address)

    def _reference(self, address: int) -> TypeRef:
        return TypeRef(partial(self.at, address))

    # -- names: cmd/compile/internal/types/fmt.go, LinkString -----------------------------------------------------

    def _make_name(self, descriptor: Descriptor) -> str:
        read, kind = self._descriptors, descriptor.kind
        if descriptor.named:
            path = read.package_path(descriptor)
            if path == "go.shape":  # types of the compiler's, whose text is complete
                return descriptor.text
            return f"{escape_import_path(path)}.{descriptor.bare_name}" if path else descriptor.text
        if kind is Kind.POINTER:
            return "*" + self.name_at(read.elem(descriptor))
        if kind is Kind.SLICE:
            return "[]" + self.name_at(read.elem(descriptor))
        if kind is Kind.ARRAY:
            return f"[{read.length(descriptor)}]{self.name_at(read.elem(descriptor))}"
        if kind is Kind.MAP:
            return f"map[{self.name_at(read.key(descriptor))}]{self.name_at(read.elem(descriptor))}"
        if kind is Kind.CHAN:
            prefix, elem = read.chan_prefix(descriptor), self.name_at(read.elem(descriptor))
            return f"chan ({elem})" if prefix == "chan " and elem.startswith("<-chan ") else prefix + elem
        if kind is Kind.FUNC:
            return "func" + self._signature(descriptor)
        if kind is Kind.INTERFACE:
            return self._interface_name(descriptor)
        if kind is Kind.STRUCT and not descriptor.text.startswith("map."):
            return self._struct_name(descriptor)
        return descriptor.text

    def _signature(self, descriptor: Descriptor) -> str:
        parameters, results, variadic = self._descriptors.signature(descriptor)
        inputs = _bounded(descriptor, (self.name_at(address) for address in parameters))
        if variadic and inputs:
            inputs[-1] = "..." + inputs[-1].removeprefix("[]")
        outputs = _bounded(descriptor, (self.name_at(address) for address in results))
        text = f"({', '.join(inputs)})"
        if len(outputs) == 1:
            return f"{text} {outputs[0]}"
        return f"{text} ({', '.join(outputs)})" if outputs else text

    def _interface_name(self, descriptor: Descriptor) -> str:
        methods = _bounded(descriptor, (
            _member(method.package, method.name) + self._signature(self._header(method.type))
            for method in self._descriptors.methods(descriptor)
        ))  # fmt: skip
        return f"interface {{ {'; '.join(methods)} }}" if methods else "interface {}"

    def _struct_name(self, descriptor: Descriptor) -> str:
        package = self._descriptors.struct_package(descriptor)
        members = self._descriptors.struct_fields(descriptor)
        fields = _bounded(descriptor, (self._field_text(package, field) for field in members))
        return f"struct {{ {'; '.join(fields)} }}" if fields else "struct {}"

    def _field_text(self, package: str, field: StructField) -> str:
        text = self.name_at(field.type)
        if not field.embedded:
            text = f"{_member(package, field.name)} {text}"
        return text + (f' "{_quoted(field.tag)}"' if field.tag else "")


def _bounded(descriptor: Descriptor, parts: Iterable[str]) -> list[str]:
    """The parts of a name: a struct of two of a struct of two … would double it at each step."""
    kept: list[str] = []
    left = _LONGEST_NAME
    for part in parts:
        left -= len(part)
        if left < 0:
            raise TypesDamaged(descriptor.address)
        kept.append(part)
    return kept


def _member(package: str, name: str) -> str:
    """A field's or method's name: unexported ones of two packages differ, so theirs has the package."""
    return name if name[:1].isupper() or not package else f"{escape_import_path(package)}.{name}"


def _quoted(tag: str) -> str:
    return tag.replace("\\", "\\\\").replace('"', '\\"')


__all__ = ["RuntimeTypes", "TypesDamaged"]
