"""Signatures of methods from the runtime's type metadata, which no stripping removes.

A named type's methods stand behind its descriptor: name, func type without receiver, entry of the code. The linker
drops the types of methods that nothing can reach by reflection or an interface. Layout: abi.UncommonType and abi.Method
in internal/abi/type.go (Go 1.21–1.27), runtime/type.go (1.18–1.20): {pkgPath nameOff, mcount u16, xcount u16, moff u32,
…}, {name nameOff, mtyp typeOff, ifn textOff, tfn textOff}.
"""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from gotap.image.image import Image
from gotap.image.types.descriptor import Descriptor, Descriptors
from gotap.image.types.gotypes import Type
from gotap.image.types.rtype import RuntimeTypes

_METHOD_SIZE = 16
#: Methods of one type; more is damage.
_MOST = 1 << 12


class MethodType(Struct, frozen=True):
    """Parameters behind the receiver, results, and whether the last parameter is variadic."""

    receiver: Type
    parameters: tuple[Type, ...]
    results: tuple[Type, ...]
    variadic: bool


class MethodTypes:
    """Methods by the type that declares them and the entry of their code. Raises TypesDamaged."""

    def __init__(self, image: Image, types: RuntimeTypes) -> None:
        self._image = image
        self._types = types

    @cached_property
    def _descriptors(self) -> Descriptors:
        return Descriptors(self._image.elf, self._image.moduledata, self._image.go_version)

    def find(self, receiver: str, entry: int) -> MethodType | None:
        """The method of the type of that full name (`*net/http.conn`) whose code begins at the unrelocated address."""
        type_ = self._types.lookup(receiver)
        if type_ is None or not type_.address:
            return None
        header = self._descriptors.header(type_.address)
        offset = self._func_type(header, entry - self._image.moduledata.text) if header.uncommon else 0
        if not offset:
            return None
        func = self._descriptors.header(self._descriptors.start + offset)
        parameters, results, variadic = self._descriptors.signature(func)
        return MethodType(
            type_, tuple(map(self._types.at, parameters)), tuple(map(self._types.at, results)), variadic
        )

    def _func_type(self, header: Descriptor, text_offset: int) -> int:
        """The typeOff of the method whose entry that is; 0: none, or dropped by the linker."""
        uncommon = header.address + self._descriptors.kind_size(header.kind)
        count, at = self._u32(uncommon + 4) & 0xFFFF, uncommon + self._u32(uncommon + 8)
        for method in range(at, at + _METHOD_SIZE * min(count, _MOST), _METHOD_SIZE):
            if self._u32(method + 12) == text_offset:
                offset = self._u32(method + 4)
                return offset if offset < 1 << 31 else 0
        return 0

    def _u32(self, address: int) -> int:
        word = self._descriptors.word(address & ~7)
        return word >> 8 * (address & 4) & 0xFFFFFFFF
