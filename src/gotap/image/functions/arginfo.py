"""How many bytes of arguments a function takes and where: what the runtime prints in tracebacks, stripped or not.

FUNCDATA_ArgInfo (5) lists the arguments' places in the caller's frame, register arguments by the space left for them:
a byte offset and a byte size each, aggregates between marks, ten parts at most. It knows neither names nor types, but
it refutes a wrong signature. Source: EmitArgInfo in cmd/compile/internal/ssagen/ssa.go, printArgs in
runtime/traceback.go; the same in Go 1.18–1.27. Of a generic function's instance the first argument is left out, which
is the dictionary or, from Go 1.20 on, the receiver of a method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from gotap.image import abi
from gotap.image.errors import ImageError
from gotap.image.functions.pclntab import Function, Pclntab
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef

_FUNCDATA_ARGINFO = 5
_END, _START_AGGREGATE, _END_AGGREGATE, _MORE, _FAR = 0xFF, 0xFE, 0xFD, 0xFC, 0xFB
_SPECIAL = 0xF0
_LIMIT = 10
_MAX_DEPTH = 5
_MAX_LENGTH = (_MAX_DEPTH * 3 + 2) * _LIMIT + 1

#: Kinds that are written as aggregates of so many words; structs and arrays by their members.
_WORDS = {Kind.STRING: 2, Kind.INTERFACE: 2, Kind.SLICE: 3, Kind.COMPLEX: 2}
_AGGREGATES = frozenset((*_WORDS, Kind.STRUCT, Kind.ARRAY))


def argument_info(table: Pclntab, function: Function) -> bytes | None:
    """The function's argument info without its end mark; None where it takes nothing, or nothing is known."""
    address = table.funcdata(function, _FUNCDATA_ARGINFO)
    if address is None:
        return None
    segment = table.elf.segment_of(address)
    if segment is None:
        return None
    try:
        raw = table.elf.read(address, min(_MAX_LENGTH, segment.vaddr + segment.memsz - address))
    except ImageError:
        return None
    # Offsets are below the marks and sizes below the offsets' limit, so the first end mark is the end.
    end = raw.find(bytes([_END]))
    return raw[:end] if end >= 0 else None


def expected_info(types: Sequence[Type], assignment: abi.Assignment, start: int = 0) -> bytes:
    """The argument info that the compiler writes for a function with these parameters, from parameter `start` on."""
    writer = _Writer()
    parameters = zip(types, assignment.params, assignment.homes, strict=True)
    for type_, pieces, home in islice(parameters, start, None):
        # What has no bytes has no place, and none is written.
        offset = home if home is not None else pieces[0].stack_offset if pieces else 0
        assert offset is not None
        if not writer.visit(offset, type_, 0):
            break
    return bytes(writer.out)


class ArgumentPart(Struct, frozen=True):
    """What the info tells of one argument: a type made of numbers and structs that has its bytes, at its place.

    The place is None for an argument without bytes.
    """

    offset: int | None
    type: Type


def parts_of(info: bytes) -> list[ArgumentPart] | None:
    """The arguments one by one; None where the info leaves out places, as it does behind the tenth part."""
    reader = _Reader(info)
    found: list[ArgumentPart] = []
    while reader.at < len(info):
        part = reader.part()
        if part is None:
            return None
        found.append(part)
    return found


class _Writer:
    """EmitArgInfo, step by step."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._count = 0

    def visit(self, offset: int, type_: Type, depth: int) -> bool:
        if self._count >= _LIMIT:
            self.out.append(_MORE)
            return False
        if type_.kind not in _AGGREGATES:
            self.out += bytes([_FAR]) if offset >= _SPECIAL else bytes([offset, type_.size])
            self._count += 1
            return True
        self.out.append(_START_AGGREGATE)
        depth += 1
        if depth >= _MAX_DEPTH:
            self.out += bytes([_MORE, _END_AGGREGATE])
            self._count += 1
            return True
        self._inside(offset, type_, depth)
        self.out.append(_END_AGGREGATE)
        return True

    def _inside(self, offset: int, type_: Type, depth: int) -> None:
        members = 0
        for at, member in _members(type_):
            members += 1
            if not self.visit(offset + at, member, depth):
                break
        self._count += members == 0


def _members(type_: Type) -> Iterator[tuple[int, Type]]:
    if type_.kind is Kind.STRUCT:
        yield from ((field.offset, field.type.get()) for field in type_.fields)
    elif type_.kind is Kind.ARRAY:
        assert type_.elem is not None
        elem = type_.elem.get()
        yield from ((i * elem.size, elem) for i in range(type_.count))
    else:
        words = _WORDS[type_.kind]
        member = Type("", Kind.UINT, type_.size // words)
        yield from ((i * member.size, member) for i in range(words))


class _Reader:
    def __init__(self, info: bytes) -> None:
        self._info = info
        self.at = 0

    def part(self, depth: int = 0) -> ArgumentPart | None:
        """The next argument, or the next member of one; None where its place is not told."""
        if self.at + 1 >= len(self._info) or depth > _MAX_DEPTH:
            return None
        mark, size = self._info[self.at], self._info[self.at + 1]
        if mark == _START_AGGREGATE:
            self.at += 1
            return self._aggregate(depth)
        if mark >= _SPECIAL:
            return None
        self.at += 2
        return ArgumentPart(mark, Type("", Kind.UINT, size))

    def _aggregate(self, depth: int) -> ArgumentPart | None:
        members: list[ArgumentPart] = []
        while self.at < len(self._info) and self._info[self.at] != _END_AGGREGATE:
            member = self.part(depth + 1)
            if member is None:
                return None
            members.append(member)
        self.at += 1
        start = next((one.offset for one in members if one.offset is not None), None)
        if start is None:
            inner = tuple(Field("", 0, TypeRef(one.type)) for one in members)
            return ArgumentPart(None, Type("", Kind.STRUCT, 0, inner))
        fields = tuple(
            Field("", one.offset - start if one.offset is not None else 0, TypeRef(one.type)) for one in members
        )
        widest = max(abi.alignment(one.type) for one in members)
        end = max(field.offset + field.type.get().size for field in fields)
        return ArgumentPart(start, Type("", Kind.STRUCT, abi.align(end, widest), fields))
