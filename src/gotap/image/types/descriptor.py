"""Go's runtime type descriptors as they lie in the image: the bytes behind `reflect.Type`.

Layouts are those of internal/abi/type.go (Go 1.21–1.27), runtime/type.go and reflect/type.go (1.18–1.20), 64-bit:

    Type       0 size  8 ptrdata  16 hash u32  20 tflag u8  21 align  22 fieldAlign  23 kind u8  24 equal  32 gcdata
               40 str nameOff  44 ptrToThis typeOff                                                       (48 bytes)
    pointer, slice, chan   48 elem                     array  48 elem  56 slice  64 len
    map        48 key  56 elem  64 bucket or group     func   48 inCount u16  50 outCount u16
    interface  48 pkgPath  56 methods slice            struct 48 pkgPath  56 fields slice

Behind the part of the kind follows, with tflagUncommon, the uncommon type (16 bytes: pkgPath nameOff, …).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from msgspec import Struct

from gotap.errors import GotapError
from gotap.image.containers.elf import Elf
from gotap.image.facts.goversion import GoVersion
from gotap.image.types.gotypes import Kind
from gotap.image.types.kinds import REFLECT_KINDS

#: Words of zeros behind the descriptors, so that the longest part of a kind can be read at each of them.
PADDING = 32

_TFLAG_UNCOMMON = 1
_TFLAG_EXTRA_STAR = 2
_TFLAG_NAMED = 4
_KIND_MASK = 31  # up to Go 1.25 the bits above are flags

_LONGEST_VARINT = 35  # bits

_NAME_HAS_TAG = 2
_NAME_HAS_PKG_PATH = 4
_NAME_EMBEDDED = 8

_HEADER_SIZE = 48
_UNCOMMON_SIZE = 16
_FIELD_SIZE = 24
_IMETHOD_SIZE = 8

#: Bytes of the kind's part including the header, where it is not the header alone. Maps differ by version.
_SIZES = {
    Kind.POINTER: 56,
    Kind.SLICE: 56,
    Kind.CHAN: 64,
    Kind.ARRAY: 72,
    Kind.FUNC: 56,
    Kind.INTERFACE: 80,
    Kind.STRUCT: 80,
}
_CHAN_PREFIXES = {1: "<-chan ", 2: "chan<- "}

_HEADER = struct.Struct("<QQIBBBBQQii")
_WORD = struct.Struct("<Q")


class TypesDamaged(GotapError):
    """Type metadata that contradicts itself or lies outside the image."""

    def __init__(self, address: int) -> None:
        super().__init__(
            f"the Go type metadata at {address:#x} is damaged or of a layout this version of gotap does not know",
            "build the program with DWARF (without -ldflags=-w), which is read first",
        )


class TypesModule(Protocol):
    """What moduledata says of types: unrelocated addresses and lengths in bytes."""

    @property
    def types(self) -> int: ...

    @property
    def etypes(self) -> int: ...


class Descriptor(Struct, frozen=True):
    """The header of a descriptor. `text` is reflect's String: package names instead of import paths."""

    address: int
    size: int
    kind: Kind
    align: int
    named: bool
    uncommon: bool
    text: str
    pointer_to_this: int  # address of the descriptor of *T, or 0

    @property
    def bare_name(self) -> str:
        """A named type's name without its package; type arguments keep theirs."""
        bracket = self.text.find("[")
        dot = self.text.find(".", 0, bracket if bracket >= 0 else None)
        return self.text[dot + 1 :]


class StructField(Struct, frozen=True):
    name: str
    type: int  # descriptor's address
    offset: int
    embedded: bool
    tag: str


class InterfaceMethod(Struct, frozen=True):
    name: str
    package: str  # import path; empty for exported methods
    type: int  # address of the func type's descriptor


class _Name(Struct, frozen=True):
    """A flag byte, then texts behind varint lengths, then perhaps the nameOff of an import path (Go ≥ 1.17)."""

    flags: int
    text: str
    tag: str
    end: int  # address behind the texts


class Descriptors:
    """Reads descriptors at addresses in [types, etypes). Every method raises TypesDamaged on nonsense.

    `words` is that memory with its relocations applied, from address `base` on; PADDING words of zeros follow.
    """

    def __init__(self, elf: Elf, module: TypesModule, version: GoVersion) -> None:
        self._elf = elf
        self.start, self.end = module.types, module.etypes
        if not 0 < self.end - self.start < 1 << 31:
            raise TypesDamaged(self.start)
        # One copy with the relocations of the whole region applied: a descriptor is all pointers.
        self.base = self.start & ~7
        size = (self.end - self.base) // 8
        self.words = np.concatenate([elf.pointers(self.base, size), np.zeros(PADDING, np.uint64)])
        self._bytes = self.words[:size].data.cast("B")
        self._embedded_in_offset = not version.at_least(1, 19)
        self._map_size = _map_descriptor_size(version)

    def header(self, address: int) -> Descriptor:
        raw = self._unpack(_HEADER, address)
        size, tflag, align, kind, name, pointer = raw[0], raw[3], raw[4], raw[6], raw[9], raw[10]
        known = REFLECT_KINDS[kind & _KIND_MASK] if kind & _KIND_MASK < len(REFLECT_KINDS) else None
        if known is None or name <= 0:
            raise TypesDamaged(address)
        text = self._name(self.start + name).text
        if tflag & _TFLAG_EXTRA_STAR:
            text = text[1:]
        return Descriptor(
            address,
            size,
            known,
            align,
            bool(tflag & _TFLAG_NAMED),
            bool(tflag & _TFLAG_UNCOMMON),
            text,
            self.start + pointer if pointer > 0 else 0,
        )

    def package_path(self, descriptor: Descriptor) -> str:
        """The import path of a named type; empty for the universe's."""
        if not descriptor.uncommon:
            return ""
        offset = self._i32(descriptor.address + self.kind_size(descriptor.kind))
        return self._name(self.start + offset).text if offset > 0 else ""

    def elem(self, descriptor: Descriptor) -> int:
        """The element's descriptor, of pointers, slices, arrays, channels and maps."""
        return self.word(descriptor.address + (56 if descriptor.kind is Kind.MAP else 48))

    def key(self, descriptor: Descriptor) -> int:
        return self.word(descriptor.address + 48)

    def map_group(self, descriptor: Descriptor) -> int:
        """The descriptor of a map's bucket (up to Go 1.23) or group."""
        return self.word(descriptor.address + 64)

    def length(self, descriptor: Descriptor) -> int:
        return self.word(descriptor.address + 64)

    def chan_prefix(self, descriptor: Descriptor) -> str:
        return _CHAN_PREFIXES.get(self.word(descriptor.address + 56), "chan ")

    def signature(self, descriptor: Descriptor) -> tuple[list[int], list[int], bool]:
        """A func's parameters, results, and whether the last parameter is variadic."""
        counts = self._i32(descriptor.address + 48)
        inputs, outputs = counts & 0xFFFF, counts >> 16 & 0x7FFF
        at = descriptor.address + _SIZES[Kind.FUNC] + (_UNCOMMON_SIZE if descriptor.uncommon else 0)
        types = [self.word(at + 8 * i) for i in range(inputs + outputs)]
        return types[:inputs], types[inputs:], bool(counts >> 31 & 1)

    def methods(self, descriptor: Descriptor) -> Iterator[InterfaceMethod]:
        """An interface's methods, sorted by name."""
        start, count = self.word(descriptor.address + 56), self.word(descriptor.address + 64)
        for i in range(self._checked(count, descriptor)):
            at = start + _IMETHOD_SIZE * i
            name = self._name(self.start + self._i32(at))
            yield InterfaceMethod(name.text, self._package_of(name), self.start + self._i32(at + 4))

    def method_count(self, descriptor: Descriptor) -> int:
        return self.word(descriptor.address + 64)

    def struct_fields(self, descriptor: Descriptor) -> Iterator[StructField]:
        start, count = self.word(descriptor.address + 56), self.word(descriptor.address + 64)
        for i in range(self._checked(count, descriptor)):
            at = start + _FIELD_SIZE * i
            name, type_, offset = self._name(self.word(at)), self.word(at + 8), self.word(at + 16)
            if self._embedded_in_offset:  # Go 1.18: offset<<1 | embedded
                yield StructField(name.text, type_, offset >> 1, bool(offset & 1), name.tag)
            else:
                yield StructField(name.text, type_, offset, bool(name.flags & _NAME_EMBEDDED), name.tag)

    def struct_package(self, descriptor: Descriptor) -> str:
        """The import path that a struct's unexported fields belong to."""
        at = self.word(descriptor.address + 48)
        return self._name(at).text if at else ""

    def word(self, address: int) -> int:
        """A relocated 64-bit word."""
        return int(self._unpack(_WORD, address)[0])

    def kind_size(self, kind: Kind) -> int:
        """Bytes up to the uncommon type."""
        return self._map_size if kind is Kind.MAP else _SIZES.get(kind, _HEADER_SIZE)

    def _checked(self, count: int, descriptor: Descriptor) -> int:
        if count > 1 << 16:
            raise TypesDamaged(descriptor.address)
        return count

    def _i32(self, address: int) -> int:
        return int.from_bytes(self._read(address, 4), "little", signed=True)

    def _unpack(self, layout: struct.Struct, address: int) -> tuple[int, ...]:
        at = address - self.base
        if not 0 <= at <= len(self._bytes) - layout.size:
            raise TypesDamaged(address)
        return layout.unpack_from(self._bytes, at)

    def _read(self, address: int, size: int) -> bytes:
        at = address - self.base
        if not 0 <= at <= len(self._bytes) - size:
            raise TypesDamaged(address)
        return bytes(self._bytes[at : at + size])

    def _name(self, address: int) -> _Name:
        at = address - self.base
        data = self._bytes
        try:
            if at < 0:
                raise IndexError
            flags = data[at]
            text, at = _varint_text(data, at + 1)
            tag = b""
            if flags & _NAME_HAS_TAG:
                tag, at = _varint_text(data, at)
        except IndexError:
            raise TypesDamaged(address) from None
        return _Name(flags, text.decode("utf-8", "replace"), tag.decode("utf-8", "replace"), self.base + at)

    def _package_of(self, name: _Name) -> str:
        if not name.flags & _NAME_HAS_PKG_PATH:
            return ""
        offset = self._i32(name.end)
        return self._name(self.start + offset).text if offset > 0 else ""


def _varint_text(data: memoryview, at: int) -> tuple[bytes, int]:
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > _LONGEST_VARINT:
            raise IndexError
    if at + length > len(data):
        raise IndexError
    return bytes(data[at : at + length]), at + length


def _map_descriptor_size(version: GoVersion) -> int:
    """internal/abi/map*.go: buckets up to 1.23 (and with GOEXPERIMENT=noswissmap), groups from 1.24, more from 1.27."""
    if version.at_least(1, 27):
        return 136
    if version.at_least(1, 24) and "noswissmap" not in version.experiments:
        return 112
    return 88
